//! The buffers of one call: held in the backend's memory, handed out, taken back.

use core::marker::PhantomData;

use bn_core::{Error, InOut, Memory, Scalar};

use super::How;
use crate::place::Place;

/// Makes the buffers of one call.
pub(super) struct Buffers<'a, M, P> {
    pub memory: &'a M,
    pub place: &'a P,
    pub how: How,
}

/// An operand in the backend's memory.
pub(super) struct Operand<M: Memory, P: Place<M>, E: Scalar> {
    name: &'static str,
    held: P::Held<E>,
    memory: PhantomData<M>,
}

impl<M: Memory, P: Place<M>, E: Scalar> Operand<M, P, E> {
    pub fn view(&self) -> &M::Buffer<E> {
        P::view(&self.held)
    }

    pub fn view_mut(&mut self) -> &mut M::Buffer<E> {
        P::view_mut(&mut self.held)
    }
}

/// An operand that is written, and what it held before.
pub(super) struct Output<M: Memory, P: Place<M>, E: Scalar> {
    operand: Operand<M, P, E>,
    before: Vec<E>,
}

impl<M: Memory, P: Place<M>, E: Scalar> Output<M, P, E> {
    pub fn view_mut(&mut self) -> &mut M::Buffer<E> {
        self.operand.view_mut()
    }
}

/// A tensor that is read and one that is written, or one for both.
pub(super) struct Io<M: Memory, P: Place<M>, E: Scalar> {
    input: Option<Operand<M, P, E>>,
    output: Output<M, P, E>,
}

impl<M: Memory, P: Place<M>, E: Scalar> Io<M, P, E> {
    pub fn view(&mut self) -> InOut<'_, M::Buffer<E>> {
        match &self.input {
            Some(input) => InOut::new(input.view(), self.output.view_mut()),
            None => InOut::InPlace(self.output.view_mut()),
        }
    }
}

/// What an output holds before the call: every byte 0xFF, which is a NaN in each element type, so that
/// a value that is never written cannot pass for an answer.
fn unwritten<E: Scalar>() -> E {
    bytemuck::pod_read_unaligned(&[0xFF; size_of::<f64>()][..size_of::<E>()])
}

impl<M: Memory, P: Place<M>> Buffers<'_, M, P> {
    fn hold<E: Scalar>(&self, name: &'static str, host: &[E]) -> Result<Operand<M, P, E>, String> {
        let held = self.place.hold(self.memory, host, self.how.shift);
        let held = held.map_err(|error| format!("no memory for {name}: {error}"))?;
        Ok(Operand { name, held, memory: PhantomData })
    }

    fn resized<E: Scalar>(&self, name: &'static str, host: &[E], fill: E) -> Vec<E> {
        let mut host = host.to_vec();
        if let Some((wrong, len)) = self.how.wrong
            && wrong == name
        {
            host.resize(len, fill);
        }
        host
    }

    pub fn input<E: Scalar>(
        &self,
        name: &'static str,
        host: &[E],
    ) -> Result<Operand<M, P, E>, String> {
        self.hold(name, &self.resized(name, host, E::default()))
    }

    pub fn option<E: Scalar>(
        &self,
        name: &'static str,
        host: Option<&[E]>,
    ) -> Result<Option<Operand<M, P, E>>, String> {
        host.map(|host| self.input(name, host)).transpose()
    }

    /// An operand that is read and written.
    pub fn update<E: Scalar>(
        &self,
        name: &'static str,
        host: &[E],
    ) -> Result<Output<M, P, E>, String> {
        let before = self.resized(name, host, E::default());
        Ok(Output { operand: self.hold(name, &before)?, before })
    }

    pub fn output<E: Scalar>(
        &self,
        name: &'static str,
        len: usize,
    ) -> Result<Output<M, P, E>, String> {
        let before = self.resized(name, &vec![unwritten(); len], unwritten());
        Ok(Output { operand: self.hold(name, &before)?, before })
    }

    pub fn output_if<E: Scalar>(
        &self,
        wanted: bool,
        name: &'static str,
        len: usize,
    ) -> Result<Option<Output<M, P, E>>, String> {
        wanted.then(|| self.output(name, len)).transpose()
    }

    pub fn io<E: Scalar>(
        &self,
        [read, written]: [&'static str; 2],
        host: &[E],
        len: usize,
    ) -> Result<Io<M, P, E>, String> {
        if self.how.in_place {
            return Ok(Io { input: None, output: self.update(read, host)? });
        }
        Ok(Io { input: Some(self.input(read, host)?), output: self.output(written, len)? })
    }
}

/// Takes outputs back, and notes the first one that was written.
pub(super) struct Collector<'a, M, P> {
    pub buffers: &'a Buffers<'a, M, P>,
    pub touched: Option<&'static str>,
}

impl<M: Memory, P: Place<M>> Collector<'_, M, P> {
    pub fn take<E: Scalar>(&mut self, output: Output<M, P, E>) -> Result<Vec<E>, String> {
        let Output { operand: Operand { name, held, .. }, before } = output;
        let after = self.buffers.place.release(self.buffers.memory, held);
        let after = after.map_err(|error| format!("{name}: {error}"))?;
        let bytes = |values: &[E]| bytemuck::cast_slice::<E, u8>(values).to_vec();
        if bytes(&before) != bytes(&after) {
            self.touched.get_or_insert(name);
        }
        Ok(after)
    }

    pub fn take_option<E: Scalar>(
        &mut self,
        output: Option<Output<M, P, E>>,
    ) -> Result<Option<Vec<E>>, String> {
        output.map(|output| self.take(output)).transpose()
    }

    pub fn take_io<E: Scalar>(&mut self, io: Io<M, P, E>) -> Result<Vec<E>, String> {
        self.take(io.output)
    }
}

/// The view of an operand that may be absent.
pub(super) fn view<M: Memory, P: Place<M>, E: Scalar>(
    operand: &Option<Operand<M, P, E>>,
) -> Option<&M::Buffer<E>> {
    operand.as_ref().map(Operand::view)
}

/// The view of an output that may not be asked for.
pub(super) fn view_mut<M: Memory, P: Place<M>, E: Scalar>(
    output: &mut Option<Output<M, P, E>>,
) -> Option<&mut M::Buffer<E>> {
    output.as_mut().map(Output::view_mut)
}

/// Runs what may fail with a contract error, for the `?` in it.
pub(super) fn attempt(call: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    call()
}
