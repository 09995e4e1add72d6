//! The page: what was measured, in one sentence, in pictures, in figures.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::figures::Figure;
use crate::bench::peers::{Case, Measured, NO_NUMBER, Results, Role, groups};
use crate::bench::report::milliseconds;

const STYLE: &str = include_str!("page.css");

/// Everything in one file, with the pictures in a wide and a narrow form.
pub(super) fn page(results: &Results, figures: &[(Figure, [String; 2])]) -> String {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Batch normalisation, side by side" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Batch normalisation, side by side" }
                (introduction(results))
                h2 { "In short" }
                (means(results))
                @for (figure, [wide, narrow]) in figures {
                    figure id=(figure.name) {
                        h2 { (figure.title) }
                        div.wide { (PreEscaped(wide)) }
                        div.narrow { (PreEscaped(narrow)) }
                        figcaption { (figure.explanation) }
                    }
                }
                h2 { "Every figure" }
                p { "Median milliseconds, then the largest error with inputs of mean 0 / mean 10 000. The fastest \
                     peer of each row is set in bold." }
                (cases(results))
                h2 { "Who took part" }
                (contenders(results))
                h2 { "Repeat it" }
                p { "From a checkout, with Rust and Python: " code { "cargo xtask bench --peers --sweep --report" } }
            }
        }
    };
    markup.into_string()
}

fn introduction(results: &Results) -> Markup {
    html! {
        p { "Batch normalisation is a layer of neural networks: it subtracts from each channel of a tensor its \
             mean and divides by its standard deviation. Training does so with the statistics of the batch, inference \
             with stored ones, and backward computes the gradients. The work is little and the data \
             large, so that the memory sets the limit." }
        p { "Everyone ran in the same session, in turns, pinned to the same number of cores, on the same inputs. Results \
             were compared with a reference in twice the precision of a double before anything was timed." }
        @if results.is_interrupted { p.warning { "This run was ended before its time." } }
        @if results.effort == "smoke" {
            p.warning { "A trial of the program on tiny shapes: its times say nothing." }
        }
        dl { @for (name, value) in facts(results) { dt { (name) } dd { (value) } } }
    }
}

/// When, on what and how thoroughly, each with its name.
pub(super) fn facts(results: &Results) -> [(&'static str, String); 9] {
    let machine = &results.machine;
    [
        ("Processor", machine.cpu.clone()),
        ("Cores", machine.cores.to_string()),
        ("Instruction set", machine.instruction_set.join(", ")),
        ("Caches", machine.caches.join(", ")),
        ("Compiler", machine.compiler.clone()),
        ("Date", results.date.clone()),
        ("Revision", results.revision.clone()),
        ("Rounds", format!("{} ({})", results.rounds, results.effort)),
        ("Load", load(results)),
    ]
}

fn load(results: &Results) -> String {
    let loads = results.cases.iter().flat_map(|case| case.load).flatten();
    let most = loads.fold(f64::NAN, f64::max);
    if most.is_nan() { "unknown".to_owned() } else { format!("at most {most:.1}") }
}

fn means(results: &Results) -> Markup {
    let marks: Vec<&str> = results.keys(Role::Mark).collect();
    html! {
        p { "Geometric means over shapes. × peer: how many times as fast as the fastest peer in the same layout; \
             % of limit: 100 would be as fast as copying." }
        div.scroll { table {
            thead { tr {
                th { "operation" } th { "layout" } th.number { "threads" } th.number { "× peer" }
                th.number { "% of limit" } th.number { "shapes" } th.number { "least" } th { "on" }
                @for mark in &marks { th.number { "× " (mark) } }
            } }
            tbody { @for group in groups(results) {
                @let ratio = |case: &Case| results.times_fastest_peer(case);
                @let least = group.cases.iter().filter_map(|case| Some((ratio(case)?, &case.shape)));
                @let least = least.min_by(|left, right| left.0.total_cmp(&right.0));
                tr {
                    td { (group.operation) } td { (group.layout) }
                    td.number { (group.threads) }
                    td.number { b { (or_dash(group.mean(ratio).map(|mean| format!("{mean:.2}")))) } }
                    td.number { (or_dash(group.mean(|case| results.share_of_limit(case)).map(|s| format!("{:.0}", 100.0 * s)))) }
                    td.number { (group.cases.len()) }
                    td.number { (or_dash(least.map(|(ratio, _)| format!("{ratio:.2}")))) }
                    td { (or_dash(least.map(|(_, shape)| shape.clone()))) }
                    @for mark in &marks {
                        td.number { (or_dash(group.mean(|case| case.of(mark)?.times_ours).map(|mean| format!("{mean:.2}")))) }
                    }
                }
            } }
        } }
    }
}

fn cases(results: &Results) -> Markup {
    let keys = |role| results.keys(role).collect::<Vec<_>>();
    let keys = [keys(Role::Ours), keys(Role::Peer), keys(Role::Mark)].concat();
    html! { div.scroll { table {
        thead { tr {
            th { "shape" } th { "operation" } th { "layout" } th.number { "threads" }
            th.number { "× peer" } th.number { "limit" } th.number { "% of limit" }
            @for key in &keys { th.number { (key) } }
        } }
        tbody { @for case in &results.cases {
            @let fastest = results.fastest_peer(case).map(|peer| peer.key.as_str());
            @let ratio = results.times_fastest_peer(case);
            tr class=[ratio.filter(|ratio| *ratio < 1.0).map(|_| "slower")] {
                td { (case.shape) } td { (case.operation) } td { (case.layout) }
                td.number { (case.threads) }
                td.number { (or_dash(ratio.map(|ratio| format!("{ratio:.2}")))) }
                td.number { (or_dash(results.limit(case).and_then(time))) }
                td.number { (or_dash(results.share_of_limit(case).map(|s| format!("{:.0}", 100.0 * s)))) }
                @for key in &keys {
                    td.number class=[(fastest == Some(*key)).then_some("fastest")] {
                        @match case.of(key) {
                            Some(measured) => { (cell(measured)) }
                            None => { "–" }
                        }
                    }
                }
            }
        } }
    } } }
}

fn cell(measured: &Measured) -> Markup {
    let error = |error: Option<f64>| match error {
        Some(NO_NUMBER..) => "NaN".to_owned(),
        error => or_dash(error.map(|error| format!("{error:.0e}"))),
    };
    match (time(measured), &measured.left_out) {
        (Some(time), _) => html! {
            (time) br; small { (error(measured.error)) " / " (error(measured.error_far)) }
        },
        (None, reason) => html! { span title=(reason.as_deref().unwrap_or_default()) { "–" } },
    }
}

fn contenders(results: &Results) -> Markup {
    html! { dl.wordy { @for contender in &results.contenders {
        dt { (contender.key) }
        dd {
            @if let (Some(name), Some(version)) = (&contender.name, &contender.version) {
                (name) " " (version) ". "
            }
            @for note in &contender.notes { (note) ". " }
            @if let Some(reason) = &contender.left_out { b { "Left out: " (reason) } }
        }
    } } }
}

fn time(measured: &Measured) -> Option<String> {
    measured.milliseconds.map(|time| milliseconds(time * 1e6))
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "–".to_owned())
}
