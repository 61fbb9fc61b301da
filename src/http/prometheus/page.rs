//! Text in the exposition format being written: families of samples. It knows no metric.

use core::fmt::{Arguments, Display, Write as _};

/// Text being written.
pub(in crate::http) struct Page(String);

impl Page {
    pub(in crate::http) fn with_capacity(bytes: usize) -> Self {
        Self(String::with_capacity(bytes))
    }

    pub(in crate::http) fn into_text(self) -> String {
        self.0
    }

    /// Begins a family; its samples must follow.
    pub(in crate::http) fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// `labels` are pairs with commas between, or nothing.
    pub(in crate::http) fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        if labels.is_empty() {
            self.line(format_args!("{name} {value}\n"));
        } else {
            self.line(format_args!("{name}{{{labels}}} {value}\n"));
        }
    }

    pub(in crate::http) fn single(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        value: impl Display,
    ) {
        self.family(name, kind, help);
        self.sample(name, "", value);
    }

    /// One histogram of a family: cumulative counts by their bounds, then all.
    pub(in crate::http) fn histogram(
        &mut self,
        name: &str,
        labels: &str,
        cumulative: impl Iterator<Item = (f64, u64)>,
        sum: f64,
        count: u64,
    ) {
        let comma = if labels.is_empty() { "" } else { "," };
        for (bound, up_to) in cumulative {
            self.line(format_args!("{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {up_to}\n"));
        }
        self.line(format_args!("{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}\n"));
        let open = |suffix: &str| match labels {
            "" => format!("{name}_{suffix}"),
            labels => format!("{name}_{suffix}{{{labels}}}"),
        };
        let (sums, counts) = (open("sum"), open("count"));
        self.line(format_args!("{sums} {sum}\n{counts} {count}\n"));
    }

    fn line(&mut self, text: Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.0.write_fmt(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_ends_with_all_its_samples() {
        let mut page = Page::with_capacity(0);
        page.family("a_seconds", "histogram", "Some.");
        page.histogram("a_seconds", "b=\"c\"", [(0.1, 1), (2.0, 3)].into_iter(), 4.5, 5);
        assert_eq!(
            page.into_text(),
            "# HELP a_seconds Some.\n# TYPE a_seconds histogram\n\
             a_seconds_bucket{b=\"c\",le=\"0.1\"} 1\na_seconds_bucket{b=\"c\",le=\"2\"} 3\n\
             a_seconds_bucket{b=\"c\",le=\"+Inf\"} 5\na_seconds_sum{b=\"c\"} 4.5\n\
             a_seconds_count{b=\"c\"} 5\n"
        );
    }
}
