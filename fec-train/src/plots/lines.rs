//! Lines over one or two vertical axes.

use core::fmt::Write;

use super::{WIDTH, escape, open, text_width};

const HEIGHT: f64 = 320.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 44.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 56.0;
/// Points of a line at most; of more, as many means are drawn.
const POINTS: usize = 400;
/// Lines of up to so many points show each of them.
const DOTS: usize = 60;
/// Colours that the style sheet has.
const COLOURS: usize = 4;

/// The axis that a line belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// The one on the left.
    Left,
    /// The one on the right.
    Right,
}

/// A line.
#[derive(Clone, Debug)]
pub struct Series<'a> {
    /// Its name, in the legend.
    pub name: &'a str,
    /// (x, y) with ascending x; where one is not a number the line is broken.
    pub points: Vec<(f64, f64)>,
    /// Its axis.
    pub axis: Axis,
    /// Whether it is dashed, so that it is told apart without colours.
    pub dashed: bool,
}

/// Lines over a common horizontal axis.
#[derive(Clone, Debug)]
pub struct LineChart<'a> {
    /// What is to the right.
    pub x: &'a str,
    /// What the left axis measures.
    pub left: &'a str,
    /// What the right axis measures; it is drawn where a line belongs to it.
    pub right: &'a str,
    /// The lines.
    pub series: Vec<Series<'a>>,
}

impl LineChart<'_> {
    /// The picture, to stand in a page.
    pub fn svg(&self) -> String {
        let x = Scale::over(self.points(None).map(|p| p.0), false, LEFT..WIDTH - RIGHT);
        let scale = |axis| {
            let values = self.points(Some(axis)).map(|p| p.1);
            Scale::over(values, true, HEIGHT - BOTTOM..TOP)
        };
        let (left, right) = (scale(Axis::Left), scale(Axis::Right));
        let mut svg = open(
            WIDTH,
            HEIGHT,
            &format!("{} and {} by {}", self.left, self.right, self.x),
        );
        self.axes(&mut svg, &x, left.as_ref(), right.as_ref());
        let mut at = LEFT;
        for (i, series) in self.series.iter().enumerate() {
            let scale = match series.axis {
                Axis::Left => &left,
                Axis::Right => &right,
            };
            let (Some(x), Some(y)) = (&x, scale) else {
                continue;
            };
            let colour = format!("var(--line-{})", i % COLOURS + 1);
            let dashed = if series.dashed { " dashed" } else { "" };
            legend(&mut svg, &mut at, series.name, &colour, dashed);
            curve(&mut svg, series, self.x, x, y, &colour, dashed);
        }
        svg + "</svg>"
    }

    /// The points that can be drawn, of one axis or of both.
    fn points(&self, axis: Option<Axis>) -> impl Iterator<Item = (f64, f64)> {
        let of_axis = move |s: &&Series<'_>| axis.is_none_or(|axis| s.axis == axis);
        let all = self.series.iter().filter(of_axis);
        all.flat_map(|s| &s.points).copied().filter(drawable)
    }

    fn axes(
        &self,
        svg: &mut String,
        x: &Option<Scale>,
        left: Option<&Scale>,
        right: Option<&Scale>,
    ) {
        let floor = HEIGHT - BOTTOM;
        let (edge, middle) = (WIDTH - RIGHT, (LEFT + WIDTH - RIGHT) / 2.0);
        if x.is_none() {
            let y = HEIGHT / 2.0;
            let _ = write!(
                svg,
                "<text class=\"quiet\" x=\"{middle}\" y=\"{y}\" text-anchor=\"middle\">nothing to show yet</text>"
            );
            return;
        }
        for (scale, at, anchor, name) in [
            (left, LEFT - 8.0, "end", self.left),
            (right, edge + 8.0, "start", self.right),
        ] {
            let Some(scale) = scale else { continue };
            for tick in scale.ticks() {
                let y = scale.at(tick);
                // The right axis has no lines of its own: two grids are none.
                if anchor == "end" || left.is_none() {
                    let _ = write!(svg, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{edge}\"/>");
                }
                let _ = write!(
                    svg,
                    "<text class=\"quiet\" x=\"{at}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                    y + 4.0,
                    scale.text(tick)
                );
            }
            let (x, y) = (
                if anchor == "end" { 14.0 } else { WIDTH - 6.0 },
                (TOP + floor) / 2.0,
            );
            let _ = write!(
                svg,
                "<text class=\"quiet\" transform=\"translate({x} {y}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
                escape(name)
            );
        }
        let Some(scale) = x else { return };
        for tick in scale.ticks() {
            let _ = write!(
                svg,
                "<text class=\"quiet\" x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                scale.at(tick),
                floor + 17.0,
                scale.text(tick)
            );
        }
        let _ = write!(
            svg,
            "<text class=\"quiet\" x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            floor + 36.0,
            escape(self.x)
        );
    }
}

fn drawable(point: &(f64, f64)) -> bool {
    point.0.is_finite() && point.1.is_finite()
}

/// A name and a piece of its line, from `at` on, which moves behind them.
fn legend(svg: &mut String, at: &mut f64, name: &str, colour: &str, dashed: &str) {
    let _ = write!(
        svg,
        "<path class=\"curve{dashed}\" style=\"stroke:{colour}\" d=\"M{:.1} 14h24\"/><text x=\"{:.1}\" y=\"18\">{}</text>",
        *at,
        *at + 31.0,
        escape(name)
    );
    *at += 31.0 + text_width(name) + 20.0;
}

fn curve(
    svg: &mut String,
    series: &Series<'_>,
    x_name: &str,
    x: &Scale,
    y: &Scale,
    colour: &str,
    dashed: &str,
) {
    let points = thinned(&series.points);
    let mut path = String::new();
    let mut pen_down = false;
    for point in &points {
        if !drawable(point) {
            pen_down = false;
            continue;
        }
        let verb = if pen_down { 'L' } else { 'M' };
        let _ = write!(path, "{verb}{:.1} {:.1}", x.at(point.0), y.at(point.1));
        pen_down = true;
    }
    let _ = write!(
        svg,
        "<path class=\"curve{dashed}\" style=\"stroke:{colour}\" d=\"{path}\"/>"
    );
    if points.len() <= DOTS {
        for point in points.iter().filter(|p| drawable(p)) {
            let _ = write!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" style=\"fill:{colour}\"><title>{} {}: {} {:.4}</title></circle>",
                x.at(point.0),
                y.at(point.1),
                escape(x_name),
                point.0,
                escape(series.name),
                point.1
            );
        }
    }
}

/// Means of neighbours, so that a long line stays a small picture; a mean over what is not a number is none.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let each = points.len().div_ceil(POINTS).max(1);
    let mean = |group: &[(f64, f64)]| {
        let n = group.len() as f64;
        let sum = |of: fn(&(f64, f64)) -> f64| group.iter().map(of).sum::<f64>();
        (sum(|p| p.0) / n, sum(|p| p.1) / n)
    };
    points.chunks(each).map(mean).collect()
}

/// Values to places.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    /// Between two ticks.
    step: f64,
    from: f64,
    to: f64,
}

impl Scale {
    /// A scale over all values, from a round number to a round number where it `snaps`; from 0 where that is near. None without values.
    pub(super) fn over(
        values: impl Iterator<Item = f64>,
        snaps: bool,
        places: core::ops::Range<f64>,
    ) -> Option<Self> {
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
            (low.min(v), high.max(v))
        });
        if low > high {
            return None;
        }
        // Beyond this nothing is read off a picture, and differences overflow.
        let (mut low, mut high) = (low.clamp(-1e100, 1e100), high.clamp(-1e100, 1e100));
        if snaps && low > 0.0 && low < 0.7 * high {
            low = 0.0;
        }
        let least = 1e-6 * low.abs().max(high.abs()).max(1e-6);
        if high - low < least {
            (low, high) = (low - least, high + least);
        }
        let step = round_step((high - low) / 5.0);
        if snaps {
            (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
        }
        let (from, to) = (places.start, places.end);
        Some(Self {
            low,
            high,
            step,
            from,
            to,
        })
    }

    fn at(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    pub(super) fn ticks(&self) -> Vec<f64> {
        let first = (self.low / self.step - 1e-6).ceil();
        let count = ((self.high / self.step + 1e-6).floor() - first).clamp(0.0, 20.0) as usize;
        (0..=count)
            .map(|i| (first + i as f64) * self.step)
            .collect()
    }

    /// A tick with as many decimals as the ticks need.
    pub(super) fn text(&self, tick: f64) -> String {
        let decimals = (-self.step.log10().floor()).clamp(0.0, 6.0) as usize;
        if tick.abs() >= 1e6 || self.step < 1e-6 {
            return format!("{tick:.1e}");
        }
        // No minus before nothing.
        format!("{:.decimals$}", tick + 0.0)
    }
}

/// The next of 1, 2, 5 times a power of ten.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let times = step / power;
    let round = [1.0, 2.0, 5.0].into_iter().find(|&r| times <= r * 1.0001);
    round.unwrap_or(10.0) * power
}
