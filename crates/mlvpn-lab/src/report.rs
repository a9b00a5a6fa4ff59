//! Results for people (text, a page) and programs (JSON).

mod page;
mod plot;

use std::fmt;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::lab::Observation;
use crate::series::Series;

/// Tables and plots under a title.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// What was measured.
    pub title: String,
    /// Sentences below the title: the setting, the conclusion.
    pub notes: Vec<String>,
    /// In the order in which they are shown.
    pub plots: Vec<Plot>,
    /// In the order in which they are shown.
    pub tables: Vec<Table>,
}

/// Rows of cells under named columns.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Table {
    /// What it shows.
    pub title: String,
    /// Heads of the columns.
    pub columns: Vec<String>,
    /// As many cells per row as there are columns.
    pub rows: Vec<Vec<String>>,
}

/// Curves over time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// Unit of the vertical axis.
    pub unit: String,
    /// The curves.
    pub curves: Vec<Curve>,
    /// What happened when: seconds, and a few words.
    pub events: Vec<(f64, String)>,
}

/// One curve.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Curve {
    /// For the legend.
    pub name: String,
    /// Seconds and values, by increasing time.
    pub points: Vec<(f64, f64)>,
    /// Whether it is drawn thick: the total.
    pub is_total: bool,
}

impl Report {
    /// An empty report.
    #[must_use]
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), ..Self::default() }
    }

    /// Adds a sentence.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds a plot.
    #[must_use]
    pub fn plot(mut self, plot: Plot) -> Self {
        self.plots.push(plot);
        self
    }

    /// Adds a table.
    #[must_use]
    pub fn table(mut self, table: Table) -> Self {
        self.tables.push(table);
        self
    }

    /// A page that needs nothing else, tables before plots: no scripts, no requests; light or dark as the reader prefers.
    #[must_use]
    pub fn to_html(&self) -> String {
        page::render(self)
    }

    /// All numbers.
    ///
    /// # Errors
    /// When a number is not finite.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).context("cannot write the report as JSON")
    }
}

impl fmt::Display for Report {
    /// Title, notes and tables as text; a plot becomes one line per curve.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        for plot in &self.plots {
            write!(f, "\n{}", plot.summary())?;
        }
        for table in &self.tables {
            write!(f, "\n{table}")?;
        }
        Ok(())
    }
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new(title: &str, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        Self { title: title.to_owned(), columns, rows: Vec::new() }
    }

    /// Adds a row; missing cells are empty, surplus ones are left out.
    #[must_use]
    pub fn row(mut self, cells: &[String]) -> Self {
        let mut row = cells.to_vec();
        row.resize(self.columns.len(), String::new());
        self.rows.push(row);
        self
    }
}

impl fmt::Display for Table {
    /// The first column to the left, the others to the right.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.title.is_empty() {
            writeln!(f, "{}", self.title)?;
        }
        let lines: Vec<&Vec<String>> = std::iter::once(&self.columns).chain(&self.rows).collect();
        let width = |column: usize| {
            lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        for line in lines {
            let mut text = String::new();
            for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
                if column == 0 {
                    text.push_str(&format!("  {cell:<width$}"));
                } else {
                    text.push_str(&format!("  {cell:>width$}"));
                }
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

impl Plot {
    /// Mbit/s over time, one curve per series, and their total when there are several.
    #[must_use]
    pub fn of_rates(title: &str, series: &[Series]) -> Self {
        let mut curves: Vec<Curve> = series.iter().map(|s| Curve::of_rate(s, false)).collect();
        if series.len() > 1 {
            curves.push(Curve::of_rate(&Series::sum("total", series), true));
        }
        Self { title: title.to_owned(), unit: "Mbit/s".to_owned(), curves, events: Vec::new() }
    }

    /// What arrived at the client.
    #[must_use]
    pub fn of_downloads(title: &str, observation: &Observation) -> Self {
        Self::of_rates(title, &observation.down)
    }

    /// Marks a moment.
    #[must_use]
    pub fn event(mut self, at_s: f64, what: &str) -> Self {
        self.events.push((at_s, what.to_owned()));
        self
    }

    fn summary(&self) -> Table {
        let mut table = Table::new(&self.title, &["", "mean", "lowest", "highest", ""]);
        for curve in &self.curves {
            let values = || curve.points.iter().map(|point| point.1);
            let mean = values().sum::<f64>() / curve.points.len().max(1) as f64;
            let lowest = values().min_by(f64::total_cmp).unwrap_or(0.0);
            let highest = values().max_by(f64::total_cmp).unwrap_or(0.0);
            let cell = |value: f64| format!("{value:.1}");
            table = table.row(&[
                curve.name.clone(),
                cell(mean),
                cell(lowest),
                cell(highest),
                self.unit.clone(),
            ]);
        }
        table
    }
}

impl Curve {
    /// The rate of a series, in Mbit/s.
    #[must_use]
    pub fn of_rate(series: &Series, is_total: bool) -> Self {
        Self { name: series.name.clone(), points: series.points(), is_total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, bytes: &[u64]) -> Series {
        Series { name: name.to_owned(), interval_s: 0.1, bytes: bytes.to_vec() }
    }

    fn report() -> Report {
        let plot = Plot::of_rates(
            "Rate <per link>",
            &[series("dsl1", &[125_000, 250_000]), series("lte1", &[0, 125_000])],
        );
        Report::new("A & B")
            .note("two links")
            .plot(plot.event(0.15, "cut \"dsl1\""))
            .table(Table::new("Result", &["link", "Mbit/s"]).row(&["dsl1".into(), "15.0".into()]))
    }

    #[test]
    fn text_has_aligned_columns() {
        let expected = "\
A & B
two links

Rate <per link>
         mean  lowest  highest
  dsl1   15.0    10.0     20.0  Mbit/s
  lte1    5.0     0.0     10.0  Mbit/s
  total  20.0    10.0     30.0  Mbit/s

Result
  link  Mbit/s
  dsl1    15.0
";
        assert_eq!(report().to_string(), expected);
    }

    #[test]
    fn the_page_is_complete_and_makes_no_requests() {
        let page = report().to_html();
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
        assert!(page.contains("A &amp; B") && page.contains("Rate &lt;per link&gt;"));
        assert!(page.contains("cut &quot;dsl1&quot;") && !page.contains("<per link>"));
        assert_eq!(page.matches("<polyline").count(), 3);
        assert!(page.contains("prefers-color-scheme: dark"));
        for outside in ["http:", "https:", "src=", "href=", "url(", "@import", "<script"] {
            assert!(!page.contains(outside), "{outside}");
        }
        for tag in ["svg", "table", "figure", "section", "g", "text", "main"] {
            let opened = page.matches(&format!("<{tag} ")).count()
                + page.matches(&format!("<{tag}>")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn json_has_all_numbers() {
        let json: serde_json::Value = serde_json::from_str(&report().to_json().unwrap()).unwrap();
        assert_eq!(json["plots"][0]["curves"][2]["name"], "total");
        assert_eq!(json["tables"][0]["rows"][0][1], "15.0");
        let last = &json["plots"][0]["curves"][0]["points"][1];
        assert!((last[1].as_f64().unwrap() - 20.0).abs() < 1e-9);
    }

    #[test]
    fn an_empty_report_is_still_a_page() {
        let page = Report::new("none").plot(Plot::default()).to_html();
        assert!(page.contains("none") && !page.contains("NaN") && !page.contains("inf"));
    }
}
