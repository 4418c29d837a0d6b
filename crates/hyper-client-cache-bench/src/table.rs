//! Prints outcomes as Markdown: the table of `docs/benchmarks.md`, then every contender's samples, so that what is
//! bimodal shows.

use std::fmt::Write as _;

use crate::runner::{Claim, Outcome, Role, Samples, Unit};
use crate::stats::{median, range};

/// The table with one line an experiment.
pub(crate) fn summary(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| row | what | ours | floor | best peer | x the floor's cost | x better than the peer | target | reached |\n\
         | --- | --- | ---: | ---: | ---: | ---: | ---: | --- | --- |\n",
    );
    for outcome in outcomes {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            outcome.row,
            outcome.what,
            outcome.ours().map_or_else(dash, |ours| quantity(median(&ours.values), outcome.unit)),
            named(outcome.floor(), outcome.unit),
            named(outcome.best_peer(), outcome.unit),
            outcome.times_floor().map_or_else(dash, ratio),
            outcome.better_than_peer().map_or_else(dash, ratio),
            target(&outcome.claims, outcome.unit),
            match outcome.is_reached() {
                Some(true) => "yes",
                Some(false) => "no",
                None => "-",
            },
        );
    }
    text
}

/// The table with one line a contender.
pub(crate) fn details(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| row | what | contender | median | lowest round | highest round |\n| --- | --- | --- | ---: | ---: | ---: |\n",
    );
    for outcome in outcomes {
        for samples in &outcome.results {
            let (low, high) = range(&samples.values);
            let _ = writeln!(
                text,
                "| {} | {} | {}{} | {} | {} | {} |",
                outcome.row,
                outcome.what,
                match samples.role {
                    Role::Ours => "ours: ",
                    Role::Floor => "floor: ",
                    Role::Peer => "peer: ",
                },
                samples.name,
                quantity(median(&samples.values), outcome.unit),
                quantity(low, outcome.unit),
                quantity(high, outcome.unit),
            );
        }
    }
    text
}

fn named(samples: Option<&Samples>, unit: Unit) -> String {
    samples.map_or_else(dash, |samples| format!("{} ({})", quantity(median(&samples.values), unit), samples.name))
}

fn target(claims: &[Claim], unit: Unit) -> String {
    if claims.is_empty() {
        return String::from("measured");
    }
    let texts = claims.iter().map(|claim| match *claim {
        Claim::TimesFloor(limit) if unit == Unit::Rate => format!("at least {} x the floor", ratio(1.0 / limit)),
        Claim::TimesFloor(limit) => format!("at most {} x the floor", ratio(limit)),
        Claim::BetterThanPeer(limit) => format!("at least {} x better than the peer", ratio(limit)),
        Claim::OverFloor(limit) => format!("at most {} over the floor", quantity(limit, unit)),
        Claim::AtMost(limit) => format!("at most {}", quantity(limit, unit)),
    });
    texts.collect::<Vec<_>>().join("; ")
}

fn dash() -> String {
    String::from("-")
}

fn ratio(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn quantity(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Time => scaled(value, 1000.0, &["ns", "µs", "ms", "s"]),
        Unit::Rate => scaled(value, 1000.0, &["/s", "k/s", "M/s"]),
        Unit::Bytes => scaled(value, 1024.0, &["B", "KiB", "MiB", "GiB"]),
        Unit::Instructions => format!("{value:.0} instr."),
    }
}

fn scaled(value: f64, step: f64, names: &[&str]) -> String {
    let mut value = value;
    let mut names = names.iter();
    let mut name = names.next().copied().unwrap_or_default();
    for larger in names {
        if value.abs() < step {
            break;
        }
        value /= step;
        name = larger;
    }
    let digits = if value.abs() >= 100.0 { 0 } else { 1 };
    format!("{value:.digits$} {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_scaled_to_their_unit() {
        assert_eq!(quantity(1_300.0, Unit::Time), "1.3 µs");
        assert_eq!(quantity(-250.0, Unit::Time), "-250 ns");
        assert_eq!(quantity(990_000.0, Unit::Rate), "990 k/s");
        assert_eq!(quantity(8.0 * 1024.0 * 1024.0, Unit::Bytes), "8.0 MiB");
        assert_eq!(quantity(1234.4, Unit::Instructions), "1234 instr.");
    }

    #[test]
    fn a_line_says_what_was_reached() {
        let samples = |role, name, value| Samples { role, name, values: vec![value] };
        let outcome = Outcome {
            row: "P1",
            what: String::from("memory hit, p50"),
            unit: Unit::Time,
            results: vec![
                samples(Role::Ours, "memory", 2600.0),
                samples(Role::Floor, "quick_cache", 1300.0),
                samples(Role::Peer, "moka", 13_000.0),
            ],
            claims: vec![Claim::TimesFloor(2.5), Claim::BetterThanPeer(4.0)],
        };
        let text = summary(&[outcome]);
        assert!(text.ends_with(
            "| P1 | memory hit, p50 | 2.6 µs | 1.3 µs (quick_cache) | 13.0 µs (moka) | 2.00 | 5.00 | \
             at most 2.50 x the floor; at least 4.00 x better than the peer | yes |\n"
        ));
    }
}
