//! Arrays of every rank and memory order, and caches that outlive what they were made from.

use bn::{BatchNorm, Cache, Layout, Mode};
use ndarray::{Array2, Array3, Array4, Array5, ArrayD, Axis, Ix3, ShapeBuilder, s};

use crate::data::{disturb, naive, noise};

#[test]
fn every_rank_from_two_is_taken_fixed_or_dynamic() {
    let mut layer = naive(BatchNorm::<f32>::builder(3, Layout::ChannelsFirst));
    let x: Array5<f32> = noise([4, 3, 2, 1, 5], 1);
    let (y, _) = layer.forward(&x, Mode::BATCH_ONLY).unwrap();
    let (dynamic, cache) = layer.forward(x.clone().into_dyn(), Mode::BATCH_ONLY).unwrap();
    assert_eq!(dynamic, y.clone().into_dyn());
    assert_eq!(layer.backward(x.clone().into_dyn(), &cache).unwrap().dx.shape(), x.shape());
    let flat = x.view().into_shape_with_order((4, 3, 10)).unwrap();
    let (flat, _) = layer.forward(flat, Mode::BATCH_ONLY).unwrap();
    assert_eq!(flat.as_slice(), y.as_slice());
    let rows: Array2<f32> = noise([4, 3], 2);
    assert!(layer.forward(&rows, Mode::BATCH_ONLY).is_ok());
    assert!(layer.forward(&ArrayD::<f32>::zeros(vec![3]), Mode::BATCH_ONLY).is_err());
}

#[test]
fn other_memory_orders_give_the_same_bits() {
    let plain: Array3<f32> = noise([4, 3, 6], 1);
    let dy: Array3<f32> = noise([4, 3, 6], 2);
    let mut fortran = Array3::zeros((4, 3, 6).f());
    fortran.assign(&plain);
    let mut sparse = Array3::zeros((8, 3, 12));
    sparse.slice_mut(s![..;2, .., ..;-2]).assign(&plain);
    let sliced = sparse.slice(s![..;2, .., ..;-2]);
    let mut moved: Array3<f32> = Array3::zeros((6, 4, 3));
    moved.view_mut().permuted_axes([1, 2, 0]).assign(&plain);

    let mut layer = naive(BatchNorm::<f32>::builder(3, Layout::ChannelsFirst));
    disturb(&mut layer);
    let (y, cache) = layer.forward(&plain, Mode::BATCH_ONLY).unwrap();
    let gradients = layer.backward(&dy, &cache).unwrap();
    let inferred = layer.infer(&plain).unwrap();
    for view in [fortran.view(), sliced, moved.view().permuted_axes([1, 2, 0])] {
        assert!(!view.is_standard_layout());
        let (found, cache) = layer.forward(view, Mode::BATCH_ONLY).unwrap();
        assert!(found.is_standard_layout());
        assert_eq!(found, y);
        assert_eq!(layer.backward(&dy, &cache).unwrap(), gradients);
        assert_eq!(layer.infer(view).unwrap(), inferred);
    }
    let mut dy_fortran = Array3::zeros((4, 3, 6).f());
    dy_fortran.assign(&dy);
    assert_eq!(layer.backward(dy_fortran, &cache).unwrap(), gradients);

    layer.infer_in_place(sparse.slice_mut(s![..;2, .., ..;-2]), None).unwrap();
    assert_eq!(sparse.slice(s![..;2, .., ..;-2]), inferred);
    assert!(sparse.index_axis(Axis(0), 1).iter().all(|&between| between == 0.0));
}

#[test]
fn a_broadcast_view_is_copied_and_one_too_large_is_an_error() {
    let mut layer = naive(BatchNorm::<f32>::builder(3, Layout::ChannelsFirst));
    let row: Array3<f32> = noise([1, 3, 5], 1);
    let wide = row.broadcast((4, 3, 5)).unwrap();
    let (y, _) = layer.forward(wide, Mode::BATCH_ONLY).unwrap();
    let (expected, _) = layer.forward(wide.to_owned(), Mode::BATCH_ONLY).unwrap();
    assert_eq!(y, expected);

    let one = Array3::<f32>::zeros((1, 3, 1));
    let endless = one.broadcast((1 << 29, 3, 1 << 29)).unwrap();
    assert!(layer.forward(endless, Mode::TRAIN).is_err());
}

#[test]
fn a_cache_owns_or_borrows_and_describes_its_own_forward() {
    let mut layer = naive(BatchNorm::<f32>::builder(3, Layout::ChannelsFirst));
    disturb(&mut layer);
    let x: Array3<f32> = noise([4, 3, 6], 1);
    let dy: Array3<f32> = noise([4, 3, 6], 2);

    let (_, borrowed) = layer.forward(&x, Mode::TRAIN).unwrap();
    assert_eq!(borrowed.x().as_ptr(), x.as_ptr());
    let expected = layer.backward(&dy, &borrowed).unwrap();
    let kept: Cache<'static, f32, Ix3> = borrowed.into_owned().unwrap();
    let memory = x.as_ptr();
    let (_, owned) = layer.forward(x, Mode::TRAIN).unwrap();
    assert_eq!(owned.x().as_ptr(), memory);

    // An optimiser's step does not change what was.
    layer.gamma_mut().unwrap().fill(100.0);
    assert_eq!(layer.backward(&dy, &kept).unwrap(), expected);
    assert_eq!(layer.backward(&dy, &owned).unwrap(), expected);
}

#[test]
fn by_name_and_by_type_are_the_same_layer() {
    let x: Array4<f32> = noise([4, 3, 2, 5], 1);
    let builder = || BatchNorm::<f32>::builder(3, Layout::ChannelsFirst);
    let mut named = builder().build_named("naive", &bn::Options::default()).unwrap();
    let mut typed = naive(builder());
    let (y, _) = named.forward(&x, Mode::TRAIN).unwrap();
    assert_eq!(y, typed.forward(&x, Mode::TRAIN).unwrap().0);

    let mut shared = builder().build_with(std::sync::Arc::clone(named.backend())).unwrap();
    assert_eq!(y, shared.forward(&x, Mode::TRAIN).unwrap().0);
    let mut fastest = builder().build().unwrap();
    let (fast, _) = fastest.forward(&x, Mode::TRAIN).unwrap();
    assert!((&fast - &y).iter().all(|d| d.abs() < 1e-6));
}
