//! Which modes a layer knows, with and without running statistics, and what each one changes.

use bn::core::{Statistics, Tracking};
use bn::naive::NaiveBackend;
use bn::{BatchNorm, ChannelMoments, Error, Input, Layout, Mode, Momentum, Seen, SingleValue};
use ndarray::{Array2, Array3, array, s};

use crate::data::{disturb, naive, noise};

const MODES: [Mode; 4] = [Mode::TRAIN, Mode::BATCH_ONLY, Mode::EVAL, Mode::RECALIBRATE];

#[test]
fn each_mode_normalises_and_tracks_as_its_value_says() {
    let x: Array3<f64> = noise([6, 2, 4], 1);
    let start = naive(BatchNorm::<f64>::builder(2, Layout::ChannelsFirst));
    let [trained, batch_only, frozen, recalibrated] = MODES.map(|mode| {
        let mut layer = start.clone();
        let (y, cache) = layer.forward(&x, mode).unwrap();
        let dx = layer.backward(&x, &cache).unwrap().dx;
        (y, dx, layer.running().unwrap().clone())
    });
    let untouched = start.running().unwrap();

    assert_eq!((&trained.0, &trained.1), (&batch_only.0, &batch_only.1));
    assert_eq!((&frozen.0, &frozen.1), (&recalibrated.0, &recalibrated.1));
    assert_ne!(trained.0, frozen.0);
    assert!(trained.1.sum().abs() < 1e-12 && frozen.1.sum().abs() > 1.0);

    assert_eq!((&batch_only.2, &frozen.2), (untouched, untouched));
    assert_ne!(&trained.2, untouched);
    assert_eq!(trained.2, recalibrated.2);
    assert_eq!(trained.2.seen(), Seen { batches: 1, factor: 0.0 });
}

#[test]
fn a_layer_without_running_statistics_knows_one_mode() {
    let x: Array2<f32> = noise([6, 2], 1);
    let builder = BatchNorm::<f32>::builder(2, Layout::ChannelsLast);
    let mut layer = naive(builder.without_running_statistics());
    for mode in MODES {
        let outcome = layer.forward(&x, mode);
        match mode {
            Mode::BATCH_ONLY => assert!(outcome.is_ok()),
            _ => assert!(matches!(outcome, Err(Error::NoRunningStatistics { .. })), "{mode}"),
        }
    }
    assert!(matches!(layer.infer(&x), Err(Error::NoRunningStatistics { .. })));
    let moments = layer.moments(&x).unwrap();
    assert!(matches!(layer.absorb(&moments), Err(Error::NoRunningStatistics { .. })));
    assert!(matches!(layer.adopt(&moments), Err(Error::NoRunningStatistics { .. })));
    assert!(layer.running().is_none());
}

#[test]
fn given_statistics_are_not_the_layers() {
    let x: Array2<f32> = noise([6, 2], 1);
    let mut layer = naive(BatchNorm::<f32>::builder(2, Layout::ChannelsLast));
    let mode = Mode { statistics: Statistics::Given, tracking: Tracking::Keep };
    assert!(matches!(layer.forward(&x, mode), Err(Error::GivenStatistics)));
}

#[test]
fn ghost_groups_are_layers_of_their_own_and_merge_exactly() {
    let x: Array3<f64> = noise([6, 2, 5], 3);
    let builder = || BatchNorm::<f64>::builder(2, Layout::ChannelsFirst);
    let (mut grouped, mut whole) = (naive(builder().groups(3)), naive(builder()));
    let (y, cache) = grouped.forward(&x, Mode::TRAIN).unwrap();
    let dx = grouped.backward(&x, &cache).unwrap().dx;
    for group in 0..3 {
        let samples = s![2 * group..2 * group + 2, .., ..];
        let (part, part_cache) = whole.forward(x.slice(samples), Mode::BATCH_ONLY).unwrap();
        assert_eq!(y.slice(samples), part);
        let part_dx = whole.backward(x.slice(samples), &part_cache).unwrap().dx;
        assert_eq!(dx.slice(samples), part_dx);
    }
    whole.forward(&x, Mode::TRAIN).unwrap();
    let (found, expected) = (grouped.running().unwrap(), whole.running().unwrap());
    assert!((&found.mean() - &expected.mean()).iter().all(|d| d.abs() < 1e-15));
    assert!((&found.var() - &expected.var()).iter().all(|d| d.abs() < 1e-15));

    // Running statistics know no groups: a batch that they do not divide can be evaluated.
    assert!(grouped.infer(x.slice(s![..5, .., ..])).is_ok());
    assert!(grouped.forward(x.slice(s![..5, .., ..]), Mode::EVAL).is_ok());
    assert!(grouped.forward(x.slice(s![..5, .., ..]), Mode::TRAIN).is_err());
}

#[test]
fn masked_positions_stay_out_of_the_statistics() {
    let mut x: Array3<f64> = noise([3, 2, 4], 4);
    let mut layer = naive(BatchNorm::<f64>::builder(2, Layout::ChannelsFirst));
    let mask =
        array![[true, true, false, true], [true, true, true, false], [true, true, true, true]];
    let (_, cache) = layer.forward(Input::new(&x).mask(&mask), Mode::TRAIN).unwrap();
    let valid = |c: usize| {
        let positions = mask.indexed_iter().filter(|(_, valid)| **valid);
        positions.map(|((n, s), _)| x[[n, c, s]]).collect::<Vec<_>>()
    };
    for c in 0..2 {
        let moments = ChannelMoments::of(&valid(c));
        assert!((cache.mean()[c] - moments.mean).abs() < 1e-14);
        let running = 0.9 + 0.1 * moments.unbiased_variance();
        assert!((layer.running().unwrap().var()[c] - running).abs() < 1e-14);
    }
    drop(cache);

    // What is left out cannot spoil anything, and recalibration and streaming leave it out as well.
    x[[0, 0, 2]] = f64::NAN;
    let start = layer.clone();
    layer.forward(Input::new(&x).mask(&mask), Mode::RECALIBRATE).unwrap();
    let mut streamed = start;
    streamed.absorb(&streamed.moments(Input::new(&x).mask(&mask)).unwrap()).unwrap();
    assert_eq!(layer.running(), streamed.running());
    assert!(layer.running().unwrap().mean().iter().all(|mean| mean.is_finite()));
}

#[test]
fn a_streamed_data_set_is_one_batch() {
    let x: Array2<f64> = noise([101, 3], 5);
    let builder = || BatchNorm::<f64>::builder(3, Layout::ChannelsFirst);
    let (mut streamed, mut whole) = (naive(builder()), naive(builder()));
    let mut moments = streamed.moments(x.slice(s![..1, ..])).unwrap();
    for part in [s![1..40, ..], s![40..42, ..], s![42.., ..]] {
        moments.merge(&streamed.moments(x.slice(part)).unwrap()).unwrap();
    }
    streamed.absorb(&moments).unwrap();
    whole.forward(&x, Mode::TRAIN).unwrap();
    let close = |a: &BatchNorm<f64, NaiveBackend>, b: &BatchNorm<f64, NaiveBackend>| {
        let (a, b) = (a.running().unwrap(), b.running().unwrap());
        (&a.mean() - &b.mean()).iter().all(|d| d.abs() < 1e-14)
            && (&a.var() - &b.var()).iter().all(|d| d.abs() < 1e-14)
    };
    assert!(close(&streamed, &whole));

    // Adopted, they are the statistics themselves, whatever was there and whatever the convention.
    for momentum in
        [Momentum::New(0.1), Momentum::Old(0.5), Momentum::Cumulative, Momentum::CaffeSum(0.9)]
    {
        let mut layer = naive(builder().momentum(momentum));
        disturb(&mut layer);
        layer.forward(&x, Mode::TRAIN).unwrap();
        layer.adopt(&moments).unwrap();
        let (mean, var) = layer.running().unwrap().averages(&momentum);
        for c in 0..3 {
            assert_eq!(mean[c], moments.channels()[c].mean);
            assert_eq!(var[c], moments.channels()[c].unbiased_variance());
        }
        assert_eq!(layer.running().unwrap().seen().batches, 1);
    }
}

#[test]
fn one_value_per_channel_follows_the_policy_in_every_mode_that_tracks() {
    let x = array![[3.0f64, 4.0]];
    let builder = || BatchNorm::<f64>::builder(2, Layout::ChannelsFirst);
    let (mut refusing, mut allowing) =
        (naive(builder()), naive(builder().single_value(SingleValue::Allow)));
    for mode in [Mode::TRAIN, Mode::BATCH_ONLY, Mode::RECALIBRATE] {
        assert!(refusing.forward(&x, mode).is_err(), "{mode}");
        allowing.forward(&x, mode).unwrap();
    }
    assert_eq!(refusing.running(), naive(builder()).running());
    assert!(refusing.infer(&x).is_ok());
    assert!(allowing.running().unwrap().var().iter().all(|var| var.is_finite()));
}
