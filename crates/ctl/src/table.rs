//! Aligned columns.

/// Rows under a heading; every row has as many cells as the heading.
pub struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// An empty table.
    pub fn new(heading: [&str; N]) -> Self {
        Self { rows: vec![heading.map(str::to_owned)] }
    }

    /// Adds a row.
    pub fn row(mut self, cells: [String; N]) -> Self {
        self.rows.push(cells);
        self
    }

    /// As text; `nothing` in the place of a table without rows.
    pub fn render(&self, nothing: &str) -> String {
        if self.rows.len() == 1 {
            return nothing.to_owned();
        }
        let width = |column: usize| {
            self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
        };
        let widths: [usize; N] = std::array::from_fn(width);
        let line = |row: &[String; N]| {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let table = Table::new(["A", "LONG"]).row(["wide".into(), "x".into()]);
        assert_eq!(table.render("none"), "A     LONG\nwide  x");
        assert_eq!(Table::new(["A"]).render("none"), "none");
    }
}
