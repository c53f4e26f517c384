//! Graphs as SVG, written by hand: text that a diff can show, readable on light and on dark paper.

use std::fmt::Write as _;

use super::summary::Spread;

/// Somebody's values, one for each row of the chart; nothing where there are none.
pub struct Series<T> {
    /// Who.
    pub name: String,
    /// The values.
    pub values: Vec<Option<T>>,
}

/// A share with what it is a share of.
#[derive(Clone, Copy)]
pub struct Share {
    /// How many.
    pub count: usize,
    /// Of how many.
    pub of: usize,
}

const COLOURS: [&str; 4] = ["#2a9d5c", "#7fb6d9", "#d9622b", "#9a86c8"];
const WIDTH: f64 = 860.0;
const LEFT: f64 = 230.0;
const RIGHT: f64 = 70.0;
const TOP: f64 = 64.0;
const BAR: f64 = 11.0;
const GAP: f64 = 14.0;

/// Bars from 0 to 100 %, a group for each row.
pub fn shares(title: &str, rows: &[String], series: &[Series<Share>]) -> String {
    let ticks: Vec<(f64, String)> =
        [0, 25, 50, 75, 100].map(|n| (f64::from(n) / 100.0, format!("{n} %"))).into();
    let mut chart = Chart::begin(title, rows, series.iter().map(|one| one.name.as_str()), &ticks);
    for row in 0..rows.len() {
        let at = chart.row(row);
        for (number, one) in series.iter().enumerate() {
            let y = at + number as f64 * BAR;
            let Some(share) = one.values[row].filter(|share| share.of > 0) else { continue };
            let part = share.count as f64 / share.of as f64;
            let width = (part * chart.span()).max(1.5);
            chart.add(&format!(
                r#"<rect x="{LEFT:.1}" y="{y:.1}" width="{width:.1}" height="{:.1}" fill="{}"/>"#,
                BAR - 2.0,
                COLOURS[number % COLOURS.len()]
            ));
            let text = format!("{}/{}", share.count, share.of);
            chart.note(LEFT + width + 4.0, y + BAR - 3.0, &text);
        }
    }
    chart.end()
}

/// Every run as a point and medians as larger ones, from the least to the most as lines, on a scale of seconds where each step is ten
/// times the last.
pub fn seconds(title: &str, rows: &[String], series: &[Series<Vec<f64>>]) -> String {
    let place = |value: f64| ((value.max(0.1).log10() + 1.0) / 4.0).clamp(0.0, 1.0);
    let ticks: Vec<(f64, String)> =
        [0.1, 1.0, 10.0, 100.0, 1000.0].map(|value| (place(value), format!("{value} s"))).into();
    let mut chart = Chart::begin(title, rows, series.iter().map(|one| one.name.as_str()), &ticks);
    for row in 0..rows.len() {
        let at = chart.row(row);
        for (number, one) in series.iter().enumerate() {
            let Some(values) = &one.values[row] else { continue };
            let Some(spread) = Spread::of(values) else { continue };
            let colour = COLOURS[number % COLOURS.len()];
            let y = at + number as f64 * BAR + BAR / 2.0 - 1.0;
            let span = chart.span();
            let x = |value| LEFT + place(value) * span;
            let (from, to, middle) = (x(spread.min), x(spread.max), x(spread.median));
            chart.add(&format!(
                r#"<line x1="{from:.1}" y1="{y:.1}" x2="{to:.1}" y2="{y:.1}" stroke="{colour}" stroke-width="1.5"/>"#
            ));
            for value in values {
                let at = x(*value);
                chart.add(&format!(
                    r#"<circle cx="{at:.1}" cy="{y:.1}" r="2.5" fill="{colour}" fill-opacity="0.6"/>"#
                ));
            }
            chart.add(&format!(r#"<circle cx="{middle:.1}" cy="{y:.1}" r="4.5" fill="{colour}"/>"#));
            chart.note(to + 8.0, y + 4.0, &format!("{:.1} s", spread.median));
        }
    }
    chart.end()
}

/// A chart under way: title, legend, rows and scale are there, marks are added.
struct Chart {
    svg: String,
    pitch: f64,
}

impl Chart {
    #[expect(clippy::cast_precision_loss, reason = "rows and series are a handful")]
    fn begin<'a>(
        title: &str,
        rows: &[String],
        names: impl Iterator<Item = &'a str>,
        ticks: &[(f64, String)],
    ) -> Self {
        let names: Vec<&str> = names.collect();
        let pitch = names.len() as f64 * BAR + GAP;
        let bottom = TOP + rows.len() as f64 * pitch;
        let height = bottom + 30.0;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {height:.0}\" role=\"img\" \
             font-family=\"system-ui, sans-serif\" font-size=\"12\">\n<title>{0}</title>\n<style>\n\
             text {{ fill: #1f2328 }} .rule {{ stroke: #d0d7de }}\n\
             @media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3 }} .rule {{ stroke: #3d444d }} }}\n\
             </style>\n<text x=\"8\" y=\"20\" font-size=\"15\" font-weight=\"600\">{0}</text>\n",
            escaped(title)
        );
        let mut x = 8.0;
        for (number, name) in names.iter().enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.1}\" y=\"34\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\
                 <text x=\"{:.1}\" y=\"44\">{}</text>",
                x + 17.0,
                escaped(name)
            );
            x += 40.0 + 6.8 * name.len() as f64;
        }
        for (at, label) in ticks {
            let x = LEFT + at * (WIDTH - LEFT - RIGHT);
            let _ = writeln!(
                svg,
                "<line class=\"rule\" x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
                TOP - 6.0,
                bottom + 18.0
            );
        }
        let chart = Self { svg, pitch };
        let middle = names.len() as f64 * BAR / 2.0 + 3.0;
        rows.iter().enumerate().fold(chart, |mut chart, (number, row)| {
            let y = chart.row(number) + middle;
            let _ = writeln!(
                chart.svg,
                "<text x=\"{:.1}\" y=\"{y:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 10.0,
                escaped(row)
            );
            chart
        })
    }

    /// Where a row begins.
    #[expect(clippy::cast_precision_loss, reason = "rows are a handful")]
    fn row(&self, number: usize) -> f64 {
        TOP + number as f64 * self.pitch
    }

    /// How wide the whole scale is.
    fn span(&self) -> f64 {
        WIDTH - LEFT - RIGHT
    }

    fn add(&mut self, mark: &str) {
        self.svg += mark;
        self.svg.push('\n');
    }

    fn note(&mut self, x: f64, y: f64, text: &str) {
        self.add(&format!(r#"<text x="{x:.1}" y="{y:.1}" font-size="9.5">{text}</text>"#));
    }

    fn end(mut self) -> String {
        self.svg += "</svg>\n";
        self.svg
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_a_mark_for_each_value_and_both_kinds_of_paper() {
        let rows = vec!["a < b".to_owned(), "c".to_owned()];
        let of = |values| Series { name: "one".into(), values };
        let svg = shares("Title", &rows, &[of(vec![Some(Share { count: 1, of: 2 }), None])]);
        assert_eq!(svg.matches("<rect").count(), 2);
        assert!(
            svg.contains("1/2") && svg.contains("a &lt; b") && svg.contains("prefers-color-scheme: dark")
        );
        let values = vec![Some(vec![1.0, 10.0, 100.0]), None];
        let svg = seconds("Title", &rows, &[Series { name: "one".into(), values }]);
        assert_eq!(svg.matches("<circle").count(), 4, "three runs and their median");
        assert!(svg.ends_with("</svg>\n"));
    }
}
