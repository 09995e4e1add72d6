//! Which layers exist in a net of a given phase, level and stages.

use crate::error::{Error, Result};
use crate::proto::schema::{LayerParameter, NetState, NetStateRule, Phase};

impl NetState {
    /// A state of this phase, level 0, no stages.
    #[must_use]
    pub fn of(phase: Phase) -> Self {
        Self { phase: Some(phase as i32), ..Self::default() }
    }
}

impl NetStateRule {
    /// Whether a net's state meets every part of the rule.
    #[must_use]
    pub fn is_met_by(&self, state: &NetState) -> bool {
        let level = state.level();
        self.phase.is_none_or(|phase| phase == state.phase() as i32)
            && self.min_level.is_none_or(|min| level >= min)
            && self.max_level.is_none_or(|max| level <= max)
            && self.stage.iter().all(|s| state.stage.contains(s))
            && !self.not_stage.iter().any(|s| state.stage.contains(s))
    }
}

impl LayerParameter {
    /// Whether the layer exists in a net of this state: one of its `include` rules is met, or none
    /// of its `exclude` rules.
    ///
    /// # Errors
    /// [`Error::Layer`] where both kinds of rules are given.
    pub fn exists_in(&self, state: &NetState) -> Result<bool> {
        match (self.include.is_empty(), self.exclude.is_empty()) {
            (false, false) => Err(Error::layer(
                self.name(),
                self.type_name(),
                "include and exclude",
                "rules of both kinds",
                "rules of one kind",
            )),
            (true, _) => Ok(!self.exclude.iter().any(|rule| rule.is_met_by(state))),
            (false, _) => Ok(self.include.iter().any(|rule| rule.is_met_by(state))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Document, read};

    fn exists(rules: &str, state: &NetState) -> Result<bool> {
        let doc = Document::parse(rules).expect("a layer");
        read::layer(doc.root()).expect("a layer").0.exists_in(state)
    }

    #[test]
    fn rules_select_by_phase_level_and_stage() {
        let test = NetState::of(Phase::Test);
        let train = NetState::of(Phase::Train);
        let staged = NetState { level: Some(2), stage: vec!["a".into()], ..test.clone() };
        let check = |rules: &str, state, expected| {
            assert_eq!(exists(rules, state).ok(), Some(expected), "{rules}");
        };
        check("", &train, true);
        check("include { phase: TRAIN }", &train, true);
        check("include { phase: TRAIN }", &test, false);
        check("exclude { phase: TRAIN }", &test, true);
        check("include { phase: TRAIN } include { phase: TEST }", &test, true);
        check("include { min_level: 1 max_level: 2 }", &staged, true);
        check("include { min_level: 1 max_level: 2 }", &test, false);
        check("include { stage: 'a' }", &staged, true);
        check("include { stage: 'a' stage: 'b' }", &staged, false);
        check("exclude { not_stage: 'a' }", &staged, true);
        assert!(exists("include { } exclude { }", &test).is_err());
    }
}
