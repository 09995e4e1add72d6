//! Choice at run time, whatever this build was given.

use bn::{Choice, DType, Error, Layout, Options, Status, f16};

/// The known names with whether this build holds them, in the order of `auto`.
const KNOWN: [(&str, bool); 3] = [
    ("rayon", cfg!(feature = "rayon")),
    ("naive", cfg!(feature = "naive")),
    ("candle", cfg!(feature = "candle")),
];

#[test]
fn every_known_backend_is_listed_with_where_it_stands() {
    let entries = bn::backends();
    assert_eq!(entries.iter().map(|entry| entry.name).collect::<Vec<_>>(), KNOWN.map(|row| row.0));
    for (entry, (name, built)) in entries.iter().zip(KNOWN) {
        match &entry.status {
            Status::Available { device, dtypes, layouts, .. } => {
                assert!(built && !device.label.is_empty());
                assert_eq!(dtypes[..], DType::ELEMENTS);
                assert_eq!(layouts[..], Layout::ALL);
            }
            Status::LeftOut { feature } => assert!(!built && *feature == name),
            Status::Unavailable { reason } => panic!("{name}: {reason}"),
        }
    }
}

#[test]
fn a_name_opens_its_backend_or_says_which_feature_has_it() {
    for (name, built) in KNOWN {
        match bn::open::<f16>(name, &Options::default()) {
            Ok(backend) => assert_eq!((backend.name(), built), (name, true)),
            Err(error) => {
                assert!(!built);
                assert_eq!(
                    error.to_string(),
                    format!(
                        "backend {name} is left out of this build; build with feature `{name}` of \
                         bn to have it"
                    )
                );
            }
        }
    }
}

#[test]
fn auto_takes_the_first_that_is_there() {
    let first = KNOWN.iter().find(|row| row.1).map(|row| row.0);
    match bn::open::<f32>(Choice::Auto, &Options::default().with_threads(1)) {
        Ok(backend) => assert_eq!(Some(backend.name()), first),
        Err(error) => {
            assert!(first.is_none() && matches!(error, Error::NoBackend { .. }));
            assert!(error.to_string().contains("left out of this build"));
        }
    }
}

#[test]
fn what_nobody_knows_is_refused_with_what_there_is() {
    for name in ["", "Naive", "auto ", "cuda0"] {
        let error = bn::open::<f32>(name, &Options::default()).err().unwrap();
        assert_eq!(
            error.to_string(),
            format!("there is no backend {name}; expected one of auto, rayon, naive, candle")
        );
    }
    for threads in [0, Options::MOST_THREADS + 1, usize::MAX] {
        let options = Options::default().with_threads(threads);
        let error = bn::open::<f32>("auto", &options).err().unwrap();
        assert!(matches!(error, Error::Threads { found, most: 1024 } if found == threads));
    }
}
