//! The node in candle's graph: used twice, in threads, never differentiated, differentiated too often.

mod tensors;

use bn_candle::{BatchNorm, Layout};
use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::ModuleT;
use tensors::{difference, uniform, values, variable, weighted_sum};

fn layer(channels: usize) -> Result<(BatchNorm, Var, Var)> {
    let f64 = DType::F64;
    let (weight, bias) =
        (variable(&[channels], 1.0, 1.0, 1, f64)?, variable(&[channels], 0.0, 1.0, 2, f64)?);
    let zeros = Tensor::zeros(channels, DType::F64, &Device::Cpu)?;
    let (w, b) = (weight.as_tensor().clone(), bias.as_tensor().clone());
    Ok((BatchNorm::new(channels, zeros.copy()?, zeros, w, b, 1e-3)?, weight, bias))
}

fn theirs(of: &BatchNorm) -> Result<candle_nn::BatchNorm> {
    let zeros = Tensor::zeros(of.num_features(), DType::F64, &Device::Cpu)?;
    let (weight, bias) = of.weight_and_bias().expect("the test layer has both");
    let (weight, bias) = (weight.clone(), bias.clone());
    candle_nn::BatchNorm::new(of.num_features(), zeros.copy()?, zeros, weight, bias, of.eps())
}

#[test]
fn the_same_layer_twice_in_one_graph() -> Result<()> {
    let (ours, weight, bias) = layer(3)?;
    let theirs = theirs(&ours)?;
    let x = variable(&[4, 3, 5], 0.5, 3.0, 3, DType::F64)?;
    let twice = |layer: &dyn ModuleT| -> Result<Tensor> {
        let inner = layer.forward_t(&x, true)?.sin()?;
        weighted_sum(&(layer.forward_t(&inner, true)? + &inner)?, 4)
    };
    let (found, expected) = (twice(&ours)?.backward()?, twice(&theirs)?.backward()?);
    for variable in [&x, &weight, &bias] {
        let (found, expected) = (found.get(variable).unwrap(), expected.get(variable).unwrap());
        assert!(difference(found, expected)? < 1e-10);
    }
    assert_eq!(ours.num_batches_tracked(), 2);
    assert!(difference(ours.running_var(), theirs.running_var())? < 1e-12);
    Ok(())
}

#[test]
fn threads_do_not_meet_in_the_layer() -> Result<()> {
    let (ours, weight, _) = layer(3)?;
    let run = |seed: u64| -> Result<(Tensor, Tensor)> {
        let x = variable(&[4, 3, 5], 0.5, 3.0, seed, DType::F64)?;
        let gradients = weighted_sum(&ours.forward_train(&x)?, seed)?.backward()?;
        Ok((gradients.get(&x).unwrap().clone(), gradients.get(&weight).unwrap().clone()))
    };
    let alone: Vec<_> = (0..8).map(run).collect::<Result<_>>()?;
    let together = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|seed| scope.spawn(move || run(seed))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Result<Vec<_>>>()
    })?;
    for ((dx, dgamma), (expected_dx, expected_dgamma)) in together.iter().zip(&alone) {
        assert_eq!(values(dx)?, values(expected_dx)?);
        assert_eq!(values(dgamma)?, values(expected_dgamma)?);
    }
    assert_eq!(ours.num_batches_tracked(), 16);
    Ok(())
}

#[test]
fn batches_of_many_threads_all_enter_the_running_statistics() -> Result<()> {
    // Every batch is the same and weighs 1/2, so what is missing of the mean says how many entered.
    let zeros = Tensor::zeros(1, DType::F64, &Device::Cpu)?;
    let ours = BatchNorm::new_no_bias_with_momentum(1, zeros.copy()?, zeros, 1e-3, 0.5)?;
    let x = Tensor::from_vec(vec![0.0, 2.0], (2, 1), &Device::Cpu)?;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..5).try_for_each(|_| ours.forward_train(&x).map(drop)).unwrap());
        }
    });
    assert_eq!(values(ours.running_mean())?, [1.0 - 0.5f64.powi(20)]);
    Ok(())
}

#[test]
fn backward_may_run_twice_or_never() -> Result<()> {
    let (ours, weight, _) = layer(3)?;
    let x = variable(&[4, 3, 5], 0.5, 3.0, 3, DType::F64)?;
    let forgotten = ours.forward_train(&x)?;
    let loss = weighted_sum(&ours.forward_train(&x)?, 4)?;
    drop(forgotten);
    let (first, second) = (loss.backward()?, loss.backward()?);
    for variable in [&x, &weight] {
        let (first, second) = (first.get(variable).unwrap(), second.get(variable).unwrap());
        assert_eq!(values(first)?, values(second)?);
    }
    Ok(())
}

#[test]
fn a_second_order_gradient_is_an_error() -> Result<()> {
    let (ours, weight, bias) = layer(3)?;
    let x = variable(&[4, 3, 5], 0.5, 3.0, 3, DType::F64)?;
    let gradients = weighted_sum(&ours.forward_train(&x)?, 4)?.backward()?;
    for variable in [&x, &weight, &bias] {
        let again = gradients.get(variable).unwrap().sqr()?.sum_all()?;
        let error = again.backward().unwrap_err().to_string();
        assert!(error.contains("no second-order gradient"), "{error}");
    }
    // A transposed x, and the other gradients' share beside ours, are found as well.
    let transposed = x.transpose(1, 2)?;
    let y = ours.clone().with_layout(Layout::ChannelsLast).forward_train(&transposed)?;
    assert_eq!(y.dims(), [4, 5, 3]);
    let residual = variable(&[4, 3, 5], 0.5, 3.0, 5, DType::F64)?;
    let y = ours.with_add_relu().forward_t(&x, &residual, true)?;
    let gradients = (weighted_sum(&y, 4)? + x.sqr()?.sum_all()?)?.backward()?;
    for variable in [&x, &residual, &weight, &bias] {
        let again = gradients.get(variable).unwrap().sum_all()?.backward();
        let error = again.expect_err("a gradient is no constant").to_string();
        assert!(error.contains("no second-order gradient"), "{error}");
    }
    Ok(())
}

#[test]
fn what_is_not_tracked_gets_no_gradient() -> Result<()> {
    let (ours, weight, bias) = layer(3)?;
    let x = uniform(&[4, 3, 5], 0.5, 3.0, 3)?;
    let tracked = Var::from_tensor(&x)?;
    let gradients = weighted_sum(&ours.forward_train(&x)?, 4)?.backward()?;
    let expected = weighted_sum(&ours.forward_train(&tracked)?, 4)?.backward()?;
    assert!(gradients.get(&x).is_none());
    for parameter in [&weight, &bias] {
        let (found, expected) = (gradients.get(parameter), expected.get(parameter));
        assert!(difference(found.unwrap(), expected.unwrap())? < 1e-12);
    }
    // Nothing tracked at all: the output has no graph behind it.
    let zeros = Tensor::zeros(3, DType::F64, &Device::Cpu)?;
    let plain = BatchNorm::new_no_bias(3, zeros.copy()?, zeros, 1e-3)?;
    assert!(!plain.forward_train(&x)?.track_op());
    Ok(())
}

/// candle reads whether to keep the graph of its gradients from the environment, once for each thread, so this
/// test runs itself again in a process where it is set.
#[test]
fn a_second_order_gradient_is_an_error_where_candle_keeps_the_graph() -> Result<()> {
    const KEEP: &str = "CANDLE_GRAD_DO_NOT_DETACH";
    if std::env::var_os(KEEP).is_none() {
        let this = "a_second_order_gradient_is_an_error_where_candle_keeps_the_graph";
        let again = std::process::Command::new(std::env::current_exe()?)
            .args(["--exact", this])
            .env(KEEP, "1")
            .output()?;
        let report = String::from_utf8_lossy(&again.stdout);
        assert!(again.status.success() && report.contains("1 passed"), "{report}");
        return Ok(());
    }
    let (ours, ..) = layer(3)?;
    let x = variable(&[4, 3, 5], 0.5, 3.0, 3, DType::F64)?;
    // x reaches the layer by way of another node, whose gradient candle would otherwise cut off.
    let gradients = weighted_sum(&ours.forward_train(&x.sqr()?)?, 4)?.backward()?;
    let error = gradients.get(&x).unwrap().sum_all()?.backward().unwrap_err().to_string();
    assert!(error.contains("no second-order gradient"), "{error}");
    Ok(())
}
