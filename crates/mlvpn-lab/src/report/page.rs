//! The page.

use super::{Plot, Report, Table, plot};

const STYLE: &str = "\
:root { color-scheme: light dark; --ground: #fdfdfc; --text: #22262b; --faint: #6b7280;
  --line: #dfe2e6; --c0: #2563eb; --c1: #d97706; --c2: #059669; --c3: #9333ea; --c4: #db2777;
  --c5: #0891b2; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #15181c; --text: #e4e7eb; --faint: #98a1ad; --line: #333a42; --c0: #6ea8fe;
    --c1: #fbbf5d; --c2: #4fd1a5; --c3: #c79bff; --c4: #ff8dc0; --c5: #5fd3ea; }
}
body { margin: 0; background: var(--ground); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 900px; margin: 0 auto; padding: 2rem 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
figure { margin: 0; } svg { width: 100%; height: auto; font-size: 12px; }
svg text { fill: var(--faint); } .end { text-anchor: end; } .middle { text-anchor: middle; }
.axes path { stroke: var(--line); } .event path { stroke: var(--faint); stroke-dasharray: 3 3; }
polyline { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
.c0 { stroke: var(--c0); } .c1 { stroke: var(--c1); } .c2 { stroke: var(--c2); }
.c3 { stroke: var(--c3); } .c4 { stroke: var(--c4); } .c5 { stroke: var(--c5); }
.c1, .c3, .c5 { stroke-dasharray: 8 4; }
.total { stroke: var(--text); stroke-width: 2.6; }
figcaption span { white-space: nowrap; margin-right: 1.2rem; }
figcaption svg { width: 22px; height: 8px; margin-right: .4rem; vertical-align: middle; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; } th { color: var(--faint); font-weight: 500; }
";

pub(super) fn render(report: &Report) -> String {
    let title = escape(&report.title);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>{title}</h1>\n"
    );
    for note in &report.notes {
        page.push_str(&format!("<p>{}</p>\n", escape(note)));
    }
    for table in &report.tables {
        page.push_str(&rows(table));
    }
    for plot in &report.plots {
        page.push_str(&figure(plot));
    }
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

/// The text with the characters replaced that mean something in HTML.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

fn figure(plot: &Plot) -> String {
    let legend: String = plot
        .curves
        .iter()
        .enumerate()
        .map(|(i, curve)| {
            format!(
                "<span><svg viewBox=\"0 0 22 8\" aria-hidden=\"true\"><path class=\"{}\" \
                 d=\"M0 4H22\" stroke-width=\"2.5\"/></svg>{}</span>\n",
                plot::curve_class(i, curve.is_total),
                escape(&curve.name)
            )
        })
        .collect();
    format!(
        "<section>\n<h2>{}</h2>\n<figure>\n{}<figcaption>\n{legend}</figcaption>\n</figure>\n\
         </section>\n",
        escape(&plot.title),
        plot::render(plot)
    )
}

fn rows(table: &Table) -> String {
    let line = |cells: &[String], tag: &str| {
        let cells: String =
            cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let body: String = table.rows.iter().map(|row| line(row, "td")).collect();
    format!(
        "<section>\n<h2>{}</h2>\n<div class=\"scroll\"><table>\n{}{body}</table></div>\n\
         </section>\n",
        escape(&table.title),
        line(&table.columns, "th")
    )
}
