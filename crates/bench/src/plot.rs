//! Plots as SVG, readable in light and in dark: lines over two axes, and bars beside one another.
//!
//! Written by hand: a plot here is some text at known places, and colours have to follow the
//! reader's theme, which a style sheet inside the file does.

use std::fmt::Write as _;

/// How wide a plot is, in pixels.
const WIDTH: f64 = 760.0;
/// How high a plot of lines is, without what stands below it.
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 44.0;
/// How high a line of text is.
const LINE: f64 = 18.0;
/// Where bars begin, and how long they may become.
const BAR_LEFT: f64 = 300.0;
const BAR_MAX: f64 = 230.0;

const STYLE: &str = "svg{--ink:#1f2328;--dim:#59636e;--grid:#d1d9e0;--paper:#fff;\
--c0:#0a6ebd;--c1:#c2410c;--c2:#0f7b55;--c3:#9333a8;--c4:#8a6d00;--c5:#5b6570}\
@media(prefers-color-scheme:dark){svg{--ink:#e6edf3;--dim:#9198a1;--grid:#30363d;--paper:#0d1117;\
--c0:#58a6ff;--c1:#ff9b5e;--c2:#4ac99b;--c3:#d8a2ff;--c4:#e3c54a;--c5:#a3adb8}}\
text{font:12px system-ui,sans-serif;fill:var(--ink)}.dim{fill:var(--dim)}\
.title{font-size:15px;font-weight:600}.paper{fill:var(--paper)}\
.grid{stroke:var(--grid)}.line{fill:none;stroke-width:2}";

/// How many colours there are; dashes tell apart what has the same one.
const COLOURS: usize = 6;

/// An axis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis<'a> {
    pub(crate) label: &'a str,
    /// Whether each step is ten times the one before.
    pub(crate) is_log: bool,
}

/// One line.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Draws lines.
pub(crate) fn lines(title: &str, x: Axis<'_>, y: Axis<'_>, all: &[Series]) -> String {
    let xs = Scale::over(
        x.is_log,
        all.iter().flat_map(|one| &one.points).map(|p| p.0),
    );
    let ys = Scale::over(
        y.is_log,
        all.iter().flat_map(|one| &one.points).map(|p| p.1),
    );
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - 50.0);
    let at_x = |value: f64| LEFT + xs.share(value) * (right - LEFT);
    let at_y = |value: f64| bottom - ys.share(value) * (bottom - TOP);
    let mut svg = begin(title, HEIGHT + LINE * count(all.len().div_ceil(2)));
    for tick in ys.ticks() {
        let at = at_y(tick);
        element(
            &mut svg,
            &format!(
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>"
            ),
        );
        words(&mut svg, "dim", "end", (LEFT - 6.0, at + 4.0), &short(tick));
    }
    for tick in xs.ticks() {
        words(
            &mut svg,
            "dim",
            "middle",
            (at_x(tick), bottom + 16.0),
            &short(tick),
        );
    }
    words(&mut svg, "dim", "end", (right, bottom + 34.0), x.label);
    words(&mut svg, "dim", "start", (8.0, TOP - 10.0), y.label);
    for (index, series) in all.iter().enumerate() {
        let points: Vec<String> = series
            .points
            .iter()
            .map(|(x, y)| format!("{:.1},{:.1}", at_x(*x), at_y(*y)))
            .collect();
        let look = look(index);
        element(
            &mut svg,
            &format!(
                "<polyline class=\"line\" {look} points=\"{}\"/>",
                points.join(" ")
            ),
        );
        if points.len() <= 12 {
            for point in &points {
                let (x, y) = point.split_once(',').unwrap_or_default();
                let colour = index % COLOURS;
                element(
                    &mut svg,
                    &format!("<circle cx=\"{x}\" cy=\"{y}\" r=\"3\" fill=\"var(--c{colour})\"/>"),
                );
            }
        }
        let (column, row) = (count(index % 2), count(index / 2));
        let (x, y) = (LEFT + column * 340.0, HEIGHT + row * LINE);
        element(
            &mut svg,
            &format!(
                "<line class=\"line\" {look} x1=\"{x}\" x2=\"{}\" y1=\"{}\" y2=\"{}\"/>",
                x + 26.0,
                y - 4.0,
                y - 4.0
            ),
        );
        words(&mut svg, "", "start", (x + 32.0, y), &series.name);
    }
    svg.push_str("</svg>\n");
    svg
}

/// One bar.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) value: f64,
    /// What is written behind it.
    pub(crate) text: String,
    /// A bar of what stands beside the others, to compare.
    pub(crate) is_beside: bool,
}

/// Draws bars, the longest of which is the largest value.
pub(crate) fn bars(title: &str, all: &[Bar]) -> String {
    let most = all.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let mut svg = begin(title, TOP + 24.0 * count(all.len()) + 10.0);
    for (index, bar) in all.iter().enumerate() {
        let y = TOP + 24.0 * count(index);
        let share = if most > 0.0 { bar.value / most } else { 0.0 };
        let width = (share * BAR_MAX).max(1.0);
        let colour = if bar.is_beside { 5 } else { 0 };
        words(&mut svg, "", "end", (BAR_LEFT - 8.0, y + 13.0), &bar.name);
        element(
            &mut svg,
            &format!(
                "<rect x=\"{BAR_LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"16\" rx=\"2\" \
                 fill=\"var(--c{colour})\"/>"
            ),
        );
        let behind = BAR_LEFT + width + 8.0;
        words(&mut svg, "dim", "start", (behind, y + 13.0), &bar.text);
    }
    svg.push_str("</svg>\n");
    svg
}

fn begin(title: &str, height: f64) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n",
        escaped(title)
    );
    element(
        &mut svg,
        "<rect class=\"paper\" width=\"100%\" height=\"100%\" rx=\"6\"/>",
    );
    words(&mut svg, "title", "start", (8.0, 20.0), title);
    svg
}

fn element(svg: &mut String, element: &str) {
    svg.push_str(element);
    svg.push('\n');
}

fn words(svg: &mut String, class: &str, anchor: &str, (x, y): (f64, f64), text: &str) {
    let text = escaped(text);
    // Writing to text cannot fail.
    let _ = writeln!(
        svg,
        "<text class=\"{class}\" text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn look(index: usize) -> String {
    let dash = match index / COLOURS {
        0 => "",
        1 => " stroke-dasharray=\"6 4\"",
        _ => " stroke-dasharray=\"2 3\"",
    };
    format!("stroke=\"var(--c{})\"{dash}", index % COLOURS)
}

fn count(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// A number as short as it may be.
fn short(value: f64) -> String {
    let (value, unit) = match value.abs() {
        large if large >= 1e6 => (value / 1e6, "M"),
        large if large >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}{unit}")
}

/// Where values stand on an axis.
#[derive(Debug, Clone, Copy)]
struct Scale {
    is_log: bool,
    from: f64,
    until: f64,
    /// Between two ticks of an axis that is even.
    step: f64,
}

impl Scale {
    fn over(is_log: bool, values: impl Iterator<Item = f64> + Clone) -> Self {
        let most = values.clone().fold(f64::MIN, f64::max);
        if is_log {
            let least = values.filter(|value| *value > 0.0).fold(f64::MAX, f64::min);
            let (least, most) = if least > most {
                (1.0, 10.0)
            } else {
                (least, most)
            };
            let from = 10_f64.powf(least.log10().floor());
            let until = 10_f64.powf(most.log10().ceil()).max(from * 10.0);
            return Self {
                is_log,
                from,
                until,
                step: 0.0,
            };
        }
        let most = if most > 0.0 { most } else { 1.0 };
        let power = 10_f64.powf((most / 5.0).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|step| step * power)
            .into_iter()
            .find(|step| most / step <= 5.0)
            .unwrap_or(10.0 * power);
        Self {
            is_log,
            from: 0.0,
            until: (most / step).ceil() * step,
            step,
        }
    }

    /// From 0 to 1.
    fn share(self, value: f64) -> f64 {
        let share = if self.is_log {
            let value = value.max(self.from);
            (value / self.from).log10() / (self.until / self.from).log10()
        } else {
            (value - self.from) / (self.until - self.from)
        };
        share.clamp(0.0, 1.0)
    }

    fn ticks(self) -> Vec<f64> {
        let mut ticks = Vec::new();
        let mut tick = self.from;
        while tick <= self.until * 1.001 && ticks.len() < 20 {
            ticks.push(tick);
            tick = if self.is_log {
                tick * 10.0
            } else {
                tick + self.step
            };
        }
        ticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_holds_all_its_values_and_ends_at_round_ones() {
        let even = Scale::over(false, [0.0, 37.0, 83.0].into_iter());
        assert_eq!(even.ticks(), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        let tens = Scale::over(true, [3.0, 900.0].into_iter());
        assert_eq!(tens.ticks(), [1.0, 10.0, 100.0, 1_000.0]);
        assert!((tens.share(10.0) - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_and_zeros_are_drawn_too() {
        for points in [vec![], vec![(0.0, 0.0)], vec![(5.0, 0.0), (5.0, 0.0)]] {
            for is_log in [false, true] {
                let axis = Axis { label: "s", is_log };
                let series = Series {
                    name: "a < b".to_owned(),
                    points: points.clone(),
                };
                let svg = lines("Empty & small", axis, axis, &[series]);
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
                assert!(svg.contains("a &lt; b") && svg.contains("Empty &amp; small"));
            }
        }
        assert!(!bars("None", &[]).contains("NaN"));
    }

    #[test]
    fn colours_follow_the_readers_theme() {
        let bar = Bar {
            name: "one".to_owned(),
            value: 1.0,
            text: "1".to_owned(),
            is_beside: false,
        };
        let svg = bars("Bars", &[bar]);
        assert!(svg.contains("prefers-color-scheme:dark"));
        assert!(svg.contains("fill=\"var(--c0)\""));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(short(0.5), "0.5");
        assert_eq!(short(42_563.0), "42.56k");
        assert_eq!(short(2_000_000.0), "2M");
        assert_eq!(short(100.0), "100");
    }
}
