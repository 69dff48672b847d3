//! Rounds: every contender once per round, rounds repeated while the machine is noisy, and what is made of them.

use std::{hint::black_box, time::Duration};

use anyhow::Result;
use serde::Serialize;

use crate::machine::{Load, own_time};

/// A round during which other processes used more than this share of one CPU is noisy.
pub(crate) const QUIET: f64 = 0.10;

/// How much is measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Plan {
    /// Rounds that count.
    pub(crate) rounds: usize,
    /// Rounds that may be added in place of noisy ones.
    pub(crate) extra: usize,
    /// How long one contender runs per round and figure.
    #[serde(serialize_with = "milliseconds")]
    pub(crate) slice: Duration,
    /// Whether rare, slow cases (4 GiB holders, 5 s of starvation) are kept short.
    pub(crate) quick: bool,
}

fn milliseconds<S: serde::Serializer>(slice: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(slice.as_secs_f64() * 1e3)
}

impl Plan {
    /// About a minute in all.
    pub(crate) const QUICK: Plan = Plan { rounds: 5, extra: 2, slice: Duration::from_millis(5), quick: true };
    /// A few minutes in all.
    pub(crate) const FULL: Plan = Plan { rounds: 11, extra: 11, slice: Duration::from_millis(20), quick: false };

    /// The same with at most so many rounds, for groups whose one round is long.
    pub(crate) fn at_most(self, rounds: usize) -> Plan {
        Plan { rounds: self.rounds.min(rounds), extra: self.extra.min(rounds / 2), ..self }
    }
}

/// One that is measured: a run gives one value for each column of its table.
pub(crate) struct Contender<'a> {
    pub(crate) name: String,
    run: Box<dyn FnMut() -> Result<Vec<f64>> + 'a>,
}

impl<'a> Contender<'a> {
    pub(crate) fn new(name: impl Into<String>, run: impl FnMut() -> Result<Vec<f64>> + 'a) -> Contender<'a> {
        Contender { name: name.into(), run: Box::new(run) }
    }
}

/// The values of one contender in one column, sorted.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Series(Vec<f64>);

impl Series {
    pub(crate) fn new(mut values: Vec<f64>) -> Series {
        values.sort_by(f64::total_cmp);
        Series(values)
    }

    pub(crate) fn median(&self) -> f64 {
        self.at(0.5)
    }

    pub(crate) fn min(&self) -> f64 {
        self.at(0.0)
    }

    /// The value that so large a share of the values does not exceed.
    pub(crate) fn at(&self, share: f64) -> f64 {
        let last = self.0.len() - 1;
        self.0[(share * last as f64).round() as usize]
    }
}

/// What the rounds gave: a series per contender and column, and how quiet it was.
pub(crate) struct Measured {
    pub(crate) rows: Vec<(String, Vec<Series>)>,
    /// The largest foreign load among the rounds that count, as a share of one CPU.
    pub(crate) foreign: f64,
    /// Who could not be measured, and why.
    pub(crate) failed: Vec<String>,
}

/// Runs the contenders in interleaved rounds and keeps the quietest ones.
///
/// The order turns by one from round to round, so that nobody always follows the same neighbour.
pub(crate) fn rounds(plan: Plan, mut contenders: Vec<Contender<'_>>) -> Result<Measured> {
    let mut taken: Vec<(f64, Vec<Vec<f64>>)> = Vec::new();
    let mut failed = Vec::new();
    loop {
        let quiet = taken.iter().filter(|(foreign, _)| *foreign <= QUIET).count();
        if quiet >= plan.rounds || taken.len() >= plan.rounds + plan.extra {
            break;
        }
        let mut values = vec![Vec::new(); contenders.len()];
        let before = Load::now()?;
        for turn in 0..contenders.len() {
            let place = (turn + taken.len()) % contenders.len();
            match (contenders[place].run)() {
                Ok(figures) => values[place] = figures,
                // The others can still be compared. Its empty figures are left out below.
                Err(error) => {
                    failed.push(format!("{} could not be measured: {error:#}", contenders[place].name));
                    contenders[place].run = Box::new(|| Ok(Vec::new()));
                }
            }
        }
        taken.push((Load::now()?.foreign_since(&before), values));
    }
    taken.sort_by(|a, b| a.0.total_cmp(&b.0));
    taken.truncate(plan.rounds);
    let foreign = taken.last().map_or(0.0, |(foreign, _)| *foreign);
    let mut rows = Vec::new();
    for (place, contender) in contenders.into_iter().enumerate() {
        let columns = taken.iter().map(|(_, values)| values[place].len()).min().unwrap_or(0);
        if columns == 0 {
            continue;
        }
        let series = (0..columns).map(|column| taken.iter().map(|(_, values)| values[place][column]).collect());
        rows.push((contender.name, series.map(Series::new).collect()));
    }
    Ok(Measured { rows, foreign, failed })
}

/// Operations between two looks at the clock, which is a system call.
const BATCH: u32 = 512;

/// Nanoseconds of CPU time per call of `operation`, which is given a number that looks random.
///
/// What is measured here never sleeps, so the thread's CPU time is its time, less what others took.
pub(crate) fn per_call(slice: Duration, mut operation: impl FnMut(u32) -> Result<()>) -> Result<f64> {
    let mut dice = Dice::default();
    let (start, mut calls) = (own_time(), 0_u64);
    loop {
        for _ in 0..BATCH {
            operation(black_box(dice.roll()))?;
        }
        calls += u64::from(BATCH);
        let time = own_time() - start;
        if time >= slice {
            return Ok(time.as_secs_f64() * 1e9 / calls as f64);
        }
    }
}

/// [`per_call`] for something that is awaited.
pub(crate) async fn per_await(slice: Duration, operation: impl AsyncFn(u32) -> Result<()>) -> Result<f64> {
    let mut dice = Dice::default();
    let (start, mut calls) = (own_time(), 0_u64);
    loop {
        for _ in 0..BATCH {
            operation(black_box(dice.roll())).await?;
        }
        calls += u64::from(BATCH);
        let time = own_time() - start;
        if time >= slice {
            return Ok(time.as_secs_f64() * 1e9 / calls as f64);
        }
    }
}

/// Cheap numbers that look random (xorshift), the same in every run.
pub(crate) struct Dice(u32);

impl Default for Dice {
    fn default() -> Dice {
        Dice(0x9e37_79b9)
    }
}

impl Dice {
    pub(crate) fn roll(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }
}

/// A number below `bound` made of a roll, without a division.
pub(crate) fn below(roll: u32, bound: usize) -> usize {
    ((u64::from(roll) * bound as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_described_by_its_order() {
        let series = Series::new(vec![5.0, 1.0, 3.0, 2.0, 4.0]);
        assert_eq!((series.min(), series.median(), series.at(0.95)), (1.0, 3.0, 5.0));
    }

    #[test]
    fn rounds_give_a_series_per_contender_and_column_in_the_given_order() {
        let plan = Plan { rounds: 3, extra: 0, ..Plan::QUICK };
        let contenders = vec![Contender::new("a", || Ok(vec![1.0, 2.0])), Contender::new("b", || Ok(vec![3.0, 4.0]))];
        let measured = rounds(plan, contenders).expect("nothing fails");
        let medians: Vec<_> =
            measured.rows.iter().map(|(name, columns)| (name.as_str(), columns[1].median())).collect();
        assert_eq!(medians, [("a", 2.0), ("b", 4.0)]);
    }

    #[test]
    fn one_that_fails_is_reported_and_does_not_stop_the_others() {
        let plan = Plan { rounds: 3, extra: 0, ..Plan::QUICK };
        let mut runs = 0;
        let fails_late = Contender::new("late", || {
            runs += 1;
            anyhow::ensure!(runs < 2, "no more");
            Ok(vec![1.0])
        });
        let measured = rounds(plan, vec![fails_late, Contender::new("good", || Ok(vec![2.0]))]).expect("separated");
        assert_eq!(measured.rows.len(), 1);
        assert_eq!(measured.rows[0].0, "good");
        assert_eq!(measured.failed, ["late could not be measured: no more"]);
    }

    #[test]
    fn numbers_stay_below_their_bound_and_reach_all_of_it() {
        let mut dice = Dice::default();
        let mut seen = [false; 7];
        for _ in 0..1000 {
            seen[below(dice.roll(), 7)] = true;
        }
        assert_eq!(seen, [true; 7]);
    }
}
