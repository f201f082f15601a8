//! The two text formats of Prometheus: chooses the one that a scraper prefers, and converts the newer one to the older.

/// A text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' own format, version 0.0.4.
    Plain,
}

impl Format {
    /// The format that an `Accept` header prefers; OpenMetrics if it has no preference.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        let wish = |subtype| quality(accept, subtype);
        let open = wish(["application", "openmetrics-text"]);
        if wish(["text", "plain"]) > open {
            Self::Plain
        } else {
            Self::OpenMetrics
        }
    }

    /// The value of the `Content-Type` header.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// How much a media type is wanted, in thousandths: of the ranges that match it the most specific counts.
fn quality(accept: &str, [kind, subtype]: [&str; 2]) -> u32 {
    let ranges = accept.split(',').filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let (kind_range, subtype_range) = parts.next()?.split_once('/')?;
        let specific = [(kind_range, kind), (subtype_range, subtype)].map(|(range, name)| {
            range
                .eq_ignore_ascii_case(name)
                .then_some(1)
                .or((range == "*").then_some(0))
        });
        let [Some(kind), Some(subtype)] = specific else {
            return None;
        };
        let given = parts.find_map(|parameter| parameter.strip_prefix("q="));
        let quality = given.map_or(Some(1.0), |given| given.parse::<f32>().ok())?;
        Some((kind + subtype, (quality.clamp(0.0, 1.0) * 1000.0) as u32))
    });
    ranges.max().map_or(0, |(_, quality)| quality)
}

/// Converts to the older format. In it a counter has the name of its samples, and units and the end of the text have no lines.
pub(super) fn plain(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help = None;
    let mut line = |parts: &[&str]| {
        text.extend(parts.iter().copied());
        text.push('\n');
    };
    for open in open_metrics.lines() {
        if let Some(told) = open.strip_prefix("# HELP ") {
            // The name depends on the type, which comes in the next line.
            help = told.split_once(' ').map(|(_, told)| told);
        } else if let Some((name, kind)) = open
            .strip_prefix("# TYPE ")
            .and_then(|of| of.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            if let Some(help) = help.take() {
                line(&["# HELP ", name, suffix, " ", help]);
            }
            line(&["# TYPE ", name, suffix, " ", kind]);
        } else if !open.starts_with('#') {
            line(&[open]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scraper_gets_the_format_it_prefers() {
        for (accept, expected) in [
            // curl, no header at all, a browser.
            ("*/*", Format::OpenMetrics),
            ("", Format::OpenMetrics),
            (
                "text/html,application/xml;q=0.9,*/*;q=0.8",
                Format::OpenMetrics,
            ),
            // Prometheus 2 and 3, and 3 with `scrape_protocols: [PrometheusText0.0.4]`.
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                Format::OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                Format::OpenMetrics,
            ),
            ("text/plain;version=0.0.4;q=0.3,*/*;q=0.2", Format::Plain),
            // Other headers.
            ("text/plain", Format::Plain),
            ("Text/Plain; version=0.0.4", Format::Plain),
            ("text/*", Format::Plain),
            ("application/openmetrics-text;q=0, */*", Format::Plain),
            (
                "text/plain;q=0.4, application/openmetrics-text",
                Format::OpenMetrics,
            ),
            ("text/plain;q=wrong, nonsense", Format::OpenMetrics),
        ] {
            assert_eq!(Format::accepted(accept), expected, "{accept}");
        }
    }

    #[test]
    fn the_older_format_names_families_as_their_samples() {
        let open = "# HELP a Things.\n# TYPE a counter\na_total{b=\"# TYPE\"} 1\n\
                    # HELP c_seconds Time.\n# TYPE c_seconds histogram\n# UNIT c_seconds seconds\nc_seconds_bucket{le=\"+Inf\"} 2\n\
                    # HELP d What.\n# TYPE d info\nd_info{e=\"f\"} 1\n# TYPE g unknown\ng 3\n# EOF\n";
        assert_eq!(
            plain(open),
            "# HELP a_total Things.\n# TYPE a_total counter\na_total{b=\"# TYPE\"} 1\n\
             # HELP c_seconds Time.\n# TYPE c_seconds histogram\nc_seconds_bucket{le=\"+Inf\"} 2\n\
             # HELP d_info What.\n# TYPE d_info gauge\nd_info{e=\"f\"} 1\n# TYPE g untyped\ng 3\n"
        );
    }
}
