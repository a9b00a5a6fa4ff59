//! A plot as an inline SVG picture.

use std::fmt::Write;

use super::Plot;
use super::page::escape;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 34.0;
/// Colours of the page's style sheet, used in turn.
const COLOURS: usize = 6;

/// The picture, without its legend.
pub(super) fn render(plot: &Plot) -> String {
    let frame = Frame::around(plot);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
        escape(&plot.title)
    );
    frame.draw_axes(&mut svg, &plot.unit);
    for (at, what) in &plot.events {
        draw_event(&mut svg, frame.x(*at), what);
    }
    for (i, curve) in plot.curves.iter().enumerate() {
        let mut points = String::new();
        for (x, y) in &curve.points {
            write!(points, "{:.1},{:.1} ", frame.x(*x), frame.y(*y)).expect("a string takes all");
        }
        let class = curve_class(i, curve.is_total);
        line(&mut svg, &format!("<polyline class=\"{class}\" points=\"{}\"/>", points.trim_end()));
    }
    svg.push_str("</svg>\n");
    svg
}

/// The style of curve number `i`.
pub(super) fn curve_class(i: usize, is_total: bool) -> String {
    if is_total { "total".to_owned() } else { format!("c{}", i % COLOURS) }
}

/// Where values are on the picture.
struct Frame {
    time: Scale,
    value: Scale,
}

struct Scale {
    end: f64,
    step: f64,
}

impl Scale {
    /// From 0 to at least `largest`, in about `steps` steps of 1, 2 or 5 times a power of ten.
    fn upto(largest: f64, steps: f64) -> Self {
        let largest = if largest.is_finite() && largest > 0.0 { largest } else { 1.0 };
        let rough = largest / steps;
        let power = 10_f64.powf(rough.log10().floor());
        let factor = [1.0, 2.0, 5.0].into_iter().find(|f| f * power >= rough).unwrap_or(10.0);
        Self { end: largest, step: factor * power }
    }

    fn ticks(&self) -> impl Iterator<Item = f64> + '_ {
        let count = (self.end / self.step + 1e-6).floor() as u32;
        (0..=count).map(|i| f64::from(i) * self.step)
    }

    fn label(&self, value: f64) -> String {
        let decimals = if self.step < 1.0 { (-self.step.log10().floor()) as usize } else { 0 };
        format!("{value:.decimals$}")
    }
}

impl Frame {
    fn around(plot: &Plot) -> Self {
        let points = || plot.curves.iter().flat_map(|curve| &curve.points);
        let value = Scale::upto(points().map(|p| p.1).fold(0.0, f64::max), 5.0);
        let value = Scale { end: (value.end / value.step).ceil() * value.step, ..value };
        Self { time: Scale::upto(points().map(|p| p.0).fold(0.0, f64::max), 10.0), value }
    }

    fn x(&self, time: f64) -> f64 {
        LEFT + (time / self.time.end).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - (value / self.value.end).clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    }

    fn draw_axes(&self, svg: &mut String, unit: &str) {
        svg.push_str("<g class=\"axes\">\n");
        for tick in self.value.ticks() {
            let (y, right) = (self.y(tick), WIDTH - RIGHT);
            let label = self.value.label(tick);
            line(svg, &format!("<path d=\"M{LEFT} {y:.1}H{right}\"/>"));
            let (x, y) = (LEFT - 6.0, y + 4.0);
            let text = format!("<text class=\"end\" x=\"{x}\" y=\"{y:.1}\">{label}</text>");
            line(svg, &text);
        }
        for tick in self.time.ticks() {
            let (x, y) = (self.x(tick), HEIGHT - BOTTOM + 16.0);
            let label = self.time.label(tick);
            let text = format!("<text class=\"middle\" x=\"{x:.1}\" y=\"{y}\">{label}</text>");
            line(svg, &text);
        }
        line(svg, &format!("<text x=\"4\" y=\"12\">{}</text>", escape(unit)));
        let (x, y) = (WIDTH - RIGHT, HEIGHT - 2.0);
        line(svg, &format!("<text class=\"end\" x=\"{x}\" y=\"{y}\">seconds</text>"));
        svg.push_str("</g>\n");
    }
}

fn draw_event(svg: &mut String, x: f64, what: &str) {
    let bottom = HEIGHT - BOTTOM;
    svg.push_str("<g class=\"event\">\n");
    line(svg, &format!("<path d=\"M{x:.1} {TOP}V{bottom}\"/>"));
    // A label near the right edge would leave the picture.
    let (class, x) = if x > WIDTH * 0.8 { ("end", x - 4.0) } else { ("start", x + 4.0) };
    let y = TOP + 10.0;
    let label = escape(what);
    line(svg, &format!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y}\">{label}</text>"));
    svg.push_str("</g>\n");
}

fn line(svg: &mut String, element: &str) {
    svg.push_str(element);
    svg.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers() {
        for (largest, steps, labels) in [
            (10.0, 5.0, "0 2 4 6 8 10"),
            (0.7, 5.0, "0.0 0.2 0.4 0.6"),
            (930.0, 5.0, "0 200 400 600 800"),
            (0.0, 5.0, "0.0 0.2 0.4 0.6 0.8 1.0"),
        ] {
            let scale = Scale::upto(largest, steps);
            let found: Vec<String> = scale.ticks().map(|tick| scale.label(tick)).collect();
            assert_eq!(found.join(" "), labels);
        }
    }
}
