//! The whole conformance suite.

bn_conformance::main!(bn_naive::NaiveBackend);
