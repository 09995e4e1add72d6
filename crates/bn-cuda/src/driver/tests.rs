use bn_core::Error;

use super::probe::{calmly, new_enough, no_such_device, too_old};
use crate::CudaBackend;

#[test]
fn a_machine_without_a_driver_gets_a_reason_and_no_panic() {
    match CudaBackend::new(0) {
        Ok(backend) => assert!(format!("{backend:?}").contains("sm_")),
        Err(Error::Unavailable { backend, reason }) => {
            assert_eq!(backend, "cuda");
            assert!(!reason.is_empty());
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_device_of_a_number_that_no_machine_has_is_unavailable() {
    assert!(matches!(CudaBackend::new(usize::MAX), Err(Error::Unavailable { .. })));
}

#[test]
fn what_is_too_old_is_told_with_what_was_expected() {
    assert_eq!(
        too_old(11_040),
        "the NVIDIA driver is for CUDA 11.4; expected one for CUDA 12.0 or newer"
    );
    let error = new_enough("Tesla V100", (7, 0)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "backend cuda is unavailable: Tesla V100 has compute capability 7.0; expected 8.0 or newer"
    );
    assert_eq!(new_enough("H200", (9, 0)), Ok(()));
    assert_eq!(new_enough("RTX 4090", (8, 9)), Ok(()));
}

#[test]
fn a_missing_device_is_told_by_its_number() {
    assert_eq!(no_such_device(0, 0), "the NVIDIA driver finds no device");
    assert_eq!(no_such_device(2, 2), "there is no device 2; expected a number below 2");
}

#[test]
fn a_panic_in_a_call_of_the_driver_is_an_error() {
    let missing = || -> Result<(), Error> { panic!("Expected symbol in library: cuFoo") };
    let error = calmly(missing).unwrap_err().to_string();
    assert!(error.ends_with("lacks a function: Expected symbol in library: cuFoo"), "{error}");
}
