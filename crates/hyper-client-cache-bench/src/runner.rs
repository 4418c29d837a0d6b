//! Rounds in shuffled order: in each round every contender of an experiment gives one sample, so that whatever else the
//! machine is doing falls on all of them alike, and ratios are taken inside the round.
//!
//! `measure/` has the samples, `table.rs` prints what comes out.

use async_trait::async_trait;

use crate::Result;
use crate::stats::median;

/// One line of the table: contenders at the same work, and what is claimed of ours.
pub(crate) struct Experiment {
    /// The row of the specification: `P1`.
    pub(crate) row: &'static str,
    /// What is measured.
    pub(crate) what: String,
    pub(crate) unit: Unit,
    pub(crate) contenders: Vec<Contender>,
    /// What must be true of ours; all of it.
    pub(crate) claims: Vec<Claim>,
    /// At most this many rounds, where it is steady.
    max_rounds: Option<usize>,
    /// How many samples of each contender a round takes, in turn.
    turns: usize,
}

impl Experiment {
    /// An experiment without contenders.
    pub(crate) fn new(row: &'static str, what: impl Into<String>, unit: Unit) -> Self {
        Self { row, what: what.into(), unit, contenders: Vec::new(), claims: Vec::new(), max_rounds: None, turns: 1 }
    }

    /// Adds a contender.
    #[must_use]
    pub(crate) fn with(mut self, role: Role, name: &'static str, measure: impl Measure + 'static) -> Self {
        self.contenders.push(Contender { role, name, measure: Box::new(measure) });
        self
    }

    /// Adds a claim.
    #[must_use]
    pub(crate) fn claim(mut self, claim: Claim) -> Self {
        self.claims.push(claim);
        self
    }

    /// Says that samples are slow to take and hardly differ: at most `rounds` rounds, and none that does not count.
    #[must_use]
    pub(crate) fn steady(mut self, rounds: usize) -> Self {
        self.max_rounds = Some(rounds);
        self
    }

    /// Makes a round of `turns` turns, in each of which every contender gives one sample; the median of a contender's
    /// samples is its value in the round. For what depends on the state in which the one before has left the machine.
    #[must_use]
    pub(crate) fn in_turn(mut self, turns: usize) -> Self {
        self.turns = turns;
        self
    }
}

/// One of those that are measured side by side.
pub(crate) struct Contender {
    role: Role,
    name: &'static str,
    measure: Box<dyn Measure>,
}

/// What a contender is in the table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Ours,
    /// Hand-written, with no library of ours. The first one is what ours is held against.
    Floor,
    /// Somebody else's library. The best one of the run is what ours is held against.
    Peer,
}

/// Takes one sample: a median over many operations, or a rate.
#[async_trait]
pub(crate) trait Measure: Send {
    /// The sample, in the experiment's unit.
    async fn sample(&mut self) -> Result<f64>;
}

/// What a sample is measured in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Nanoseconds.
    Time,
    /// Operations in a second.
    Rate,
    /// Bytes.
    Bytes,
    /// Instructions.
    Instructions,
}

impl Unit {
    /// How many times the cost of `other` a sample `ours` is, whatever is better in this unit.
    fn cost_ratio(self, ours: f64, other: f64) -> f64 {
        if self == Self::Rate { other / ours } else { ours / other }
    }
}

/// Something that must be true of ours.
#[derive(Clone, Copy)]
pub(crate) enum Claim {
    /// At most this many times the cost of the first floor. For a rate: at least the inverse of it.
    TimesFloor(f64),
    /// At least this many times better than the best peer.
    BetterThanPeer(f64),
    /// At most this, in the experiment's unit.
    AtMost(f64),
    /// At most this more than the first floor, in the experiment's unit.
    OverFloor(f64),
}

/// What came out of an experiment.
pub(crate) struct Outcome {
    pub(crate) row: &'static str,
    pub(crate) what: String,
    pub(crate) unit: Unit,
    pub(crate) results: Vec<Samples>,
    pub(crate) claims: Vec<Claim>,
}

/// A contender's samples, one a round.
pub(crate) struct Samples {
    pub(crate) role: Role,
    pub(crate) name: &'static str,
    pub(crate) values: Vec<f64>,
}

impl Outcome {
    /// The samples of ours.
    pub(crate) fn ours(&self) -> Option<&Samples> {
        self.results.iter().find(|samples| samples.role == Role::Ours)
    }

    /// The samples of the floor that counts.
    pub(crate) fn floor(&self) -> Option<&Samples> {
        self.results.iter().find(|samples| samples.role == Role::Floor)
    }

    /// The samples of the peer with the best median.
    pub(crate) fn best_peer(&self) -> Option<&Samples> {
        let cost = |samples: &&Samples| self.unit.cost_ratio(median(&samples.values), 1.0);
        self.results
            .iter()
            .filter(|samples| samples.role == Role::Peer)
            .min_by(|one, other| cost(one).total_cmp(&cost(other)))
    }

    /// How many times the floor's cost ours is: the median of the rounds' ratios.
    pub(crate) fn times_floor(&self) -> Option<f64> {
        Some(self.ratio(self.ours()?, self.floor()?))
    }

    /// How many times better than the best peer ours is: the median of the rounds' ratios.
    pub(crate) fn better_than_peer(&self) -> Option<f64> {
        Some(self.ratio(self.best_peer()?, self.ours()?))
    }

    /// Whether all claims are true; `None` where there is none, or nothing to judge by.
    pub(crate) fn is_reached(&self) -> Option<bool> {
        if self.claims.is_empty() {
            return None;
        }
        self.claims.iter().map(|&claim| self.holds(claim)).try_fold(true, |all, holds| Some(all && holds?))
    }

    fn holds(&self, claim: Claim) -> Option<bool> {
        Some(match claim {
            Claim::TimesFloor(limit) => self.times_floor()? <= limit,
            Claim::BetterThanPeer(limit) => self.better_than_peer()? >= limit,
            Claim::AtMost(limit) => median(&self.ours()?.values) <= limit,
            Claim::OverFloor(limit) => {
                let pairs = self.ours()?.values.iter().zip(&self.floor()?.values);
                median(&pairs.map(|(ours, floor)| ours - floor).collect::<Vec<_>>()) <= limit
            }
        })
    }

    fn ratio(&self, one: &Samples, other: &Samples) -> f64 {
        let ratios = one.values.iter().zip(&other.values).map(|(&one, &other)| self.unit.cost_ratio(one, other));
        median(&ratios.collect::<Vec<_>>())
    }
}

/// Runs an experiment: a round that does not count, unless samples are steady, then `rounds` that do.
pub(crate) async fn run(mut experiment: Experiment, rounds: usize) -> Result<Outcome> {
    let mut results: Vec<Samples> = experiment
        .contenders
        .iter()
        .map(|contender| Samples { role: contender.role, name: contender.name, values: Vec::new() })
        .collect();
    let mut order: Vec<usize> = (0..results.len()).collect();
    let rounds = rounds.min(experiment.max_rounds.unwrap_or(usize::MAX));
    let first = usize::from(experiment.max_rounds.is_some());
    for round in first..=rounds {
        let mut taken = vec![Vec::with_capacity(experiment.turns); results.len()];
        for _ in 0..experiment.turns {
            fastrand::shuffle(&mut order);
            for &turn in &order {
                let (Some(contender), Some(values)) = (experiment.contenders.get_mut(turn), taken.get_mut(turn)) else {
                    continue;
                };
                let value = contender.measure.sample().await.map_err(|error| format!("{}: {error}", contender.name))?;
                values.push(value);
            }
        }
        // The first round fills caches, pools and branch predictors.
        if round > 0 {
            results.iter_mut().zip(&taken).for_each(|(samples, values)| samples.values.push(median(values)));
        }
    }
    let Experiment { row, what, unit, claims, .. } = experiment;
    Ok(Outcome { row, what, unit, results, claims })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(unit: Unit, claims: Vec<Claim>) -> Outcome {
        let samples = |role, name, values: &[f64]| Samples { role, name, values: values.to_vec() };
        let results = vec![
            samples(Role::Ours, "ours", &[2.0, 4.0, 40.0]),
            samples(Role::Floor, "floor", &[1.0, 2.0, 20.0]),
            samples(Role::Peer, "slow", &[80.0, 160.0, 1600.0]),
            samples(Role::Peer, "quick", &[8.0, 16.0, 160.0]),
        ];
        Outcome { row: "P0", what: String::new(), unit, results, claims }
    }

    /// Says how often it was asked, and by whom last.
    struct Turns(&'static str, std::sync::Arc<std::sync::Mutex<String>>, f64);

    #[async_trait]
    impl Measure for Turns {
        async fn sample(&mut self) -> Result<f64> {
            self.1.lock().unwrap().push_str(self.0);
            self.2 += 1.0;
            Ok(self.2)
        }
    }

    #[tokio::test]
    async fn a_round_of_turns_asks_each_once_a_turn_and_keeps_the_median() {
        let asked = std::sync::Arc::<std::sync::Mutex<String>>::default();
        let experiment = Experiment::new("P0", "", Unit::Time)
            .with(Role::Ours, "ours", Turns("o", asked.clone(), 0.0))
            .with(Role::Floor, "floor", Turns("f", asked.clone(), 10.0))
            .in_turn(3);
        let outcome = run(experiment, 2).await.unwrap();
        // The first round, of three turns, does not count.
        assert_eq!(outcome.ours().unwrap().values, [5.0, 8.0]);
        assert_eq!(outcome.floor().unwrap().values, [15.0, 18.0]);
        let asked = asked.lock().unwrap();
        assert_eq!(asked.len(), 18);
        assert!(asked.as_bytes().chunks(2).all(|turn| turn == b"of" || turn == b"fo"), "{asked}");
    }

    #[test]
    fn ratios_are_taken_inside_a_round() {
        let outcome = outcome(Unit::Time, vec![Claim::TimesFloor(2.0), Claim::BetterThanPeer(4.0)]);
        assert_eq!(outcome.times_floor(), Some(2.0));
        assert_eq!(outcome.better_than_peer(), Some(4.0));
        assert_eq!(outcome.is_reached(), Some(true));
    }

    #[test]
    fn more_is_better_for_a_rate() {
        let outcome = outcome(Unit::Rate, vec![Claim::TimesFloor(1.0), Claim::BetterThanPeer(1.0)]);
        assert_eq!(outcome.times_floor(), Some(0.5));
        assert_eq!(outcome.best_peer().map(|peer| peer.name), Some("slow"));
        assert_eq!(outcome.better_than_peer(), Some(0.025));
        assert_eq!(outcome.is_reached(), Some(false));
    }

    #[test]
    fn a_claim_that_fails_is_not_reached() {
        assert_eq!(outcome(Unit::Time, vec![Claim::TimesFloor(1.9)]).is_reached(), Some(false));
        assert_eq!(outcome(Unit::Time, vec![Claim::AtMost(3.0)]).is_reached(), Some(false));
        assert_eq!(outcome(Unit::Time, vec![Claim::OverFloor(1.9)]).is_reached(), Some(false));
        assert_eq!(outcome(Unit::Time, vec![]).is_reached(), None);
    }
}
