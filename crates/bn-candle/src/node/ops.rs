//! The node as candle's custom operations, one for each set of arguments.
//!
//! candle's custom operations have at most three arguments. With a residual there are four, so gamma
//! and beta then travel as the two rows of one tensor.

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor,
};

use super::site::{on_cpu, on_cuda};
use super::{Affine, Gradients, NAME, Node};

/// x.
pub(crate) struct Plain(pub(crate) Node);

impl CustomOp1 for Plain {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, x: &CpuStorage, x_at: &Layout) -> Result<(CpuStorage, Shape)> {
        on_cpu(self.0.forward((x, x_at).into(), Affine::None, None)?)
    }

    fn cuda_fwd(&self, x: &CudaStorage, x_at: &Layout) -> Result<(CudaStorage, Shape)> {
        on_cuda(self.0.forward((x, x_at).into(), Affine::None, None)?)
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        Ok(self.0.backward(x, Affine::None, None, dy)?.dx)
    }
}

/// x, residual.
pub(crate) struct WithResidual(pub(crate) Node);

impl CustomOp2 for WithResidual {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_at: &Layout,
        residual: &CpuStorage,
        residual_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        on_cpu(self.0.forward(
            (x, x_at).into(),
            Affine::None,
            Some((residual, residual_at).into()),
        )?)
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_at: &Layout,
        residual: &CudaStorage,
        residual_at: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        on_cuda(self.0.forward(
            (x, x_at).into(),
            Affine::None,
            Some((residual, residual_at).into()),
        )?)
    }

    fn bwd(
        &self,
        x: &Tensor,
        residual: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let Gradients { dx, dresidual, .. } =
            self.0.backward(x, Affine::None, Some(residual), dy)?;
        Ok((dx, dresidual))
    }
}

/// x, gamma, beta.
pub(crate) struct WithAffine(pub(crate) Node);

impl CustomOp3 for WithAffine {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_at: &Layout,
        gamma: &CpuStorage,
        gamma_at: &Layout,
        beta: &CpuStorage,
        beta_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        on_cpu(self.0.forward(
            (x, x_at).into(),
            Affine::Apart([(gamma, gamma_at).into(), (beta, beta_at).into()]),
            None,
        )?)
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_at: &Layout,
        gamma: &CudaStorage,
        gamma_at: &Layout,
        beta: &CudaStorage,
        beta_at: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        on_cuda(self.0.forward(
            (x, x_at).into(),
            Affine::Apart([(gamma, gamma_at).into(), (beta, beta_at).into()]),
            None,
        )?)
    }

    fn bwd(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        beta: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Gradients { dx, daffine: [dgamma, dbeta], .. } =
            self.0.backward(x, Affine::Apart([gamma, beta]), None, dy)?;
        Ok((dx, dgamma, dbeta))
    }
}

/// x, gamma and beta as two rows, residual.
pub(crate) struct WithAffineAndResidual(pub(crate) Node);

impl CustomOp3 for WithAffineAndResidual {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_at: &Layout,
        affine: &CpuStorage,
        affine_at: &Layout,
        residual: &CpuStorage,
        residual_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let rows = Affine::Rows((affine, affine_at).into());
        on_cpu(self.0.forward((x, x_at).into(), rows, Some((residual, residual_at).into()))?)
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_at: &Layout,
        affine: &CudaStorage,
        affine_at: &Layout,
        residual: &CudaStorage,
        residual_at: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let rows = Affine::Rows((affine, affine_at).into());
        on_cuda(self.0.forward((x, x_at).into(), rows, Some((residual, residual_at).into()))?)
    }

    fn bwd(
        &self,
        x: &Tensor,
        affine: &Tensor,
        residual: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Gradients { dx, daffine: [daffine, _], dresidual } =
            self.0.backward(x, Affine::Rows(affine), Some(residual), dy)?;
        Ok((dx, daffine, dresidual))
    }
}
