//! `--fail-if FIELD OP NUMBER`: what must not be.

use std::{collections::BTreeMap, fmt, str::FromStr};

use anyhow::ensure;
use serde::Deserialize;

/// Figures of a run, by name.
pub type Figures = BTreeMap<String, f64>;

/// A condition on one figure.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct Condition {
    field: String,
    operator: Operator,
    number: f64,
}

/// How a figure is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    GreaterOrEqual,
    LessOrEqual,
    Equal,
    NotEqual,
    Greater,
    Less,
}

/// Those of two characters first: `>` is the beginning of `>=`.
const OPERATORS: [(&str, Operator); 6] = [
    (">=", Operator::GreaterOrEqual),
    ("<=", Operator::LessOrEqual),
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    (">", Operator::Greater),
    ("<", Operator::Less),
];

impl Operator {
    fn word(self) -> &'static str {
        OPERATORS.iter().find(|(_, operator)| *operator == self).map_or("", |(word, _)| *word)
    }

    fn holds(self, figure: f64, number: f64) -> bool {
        match self {
            Operator::GreaterOrEqual => figure >= number,
            Operator::LessOrEqual => figure <= number,
            Operator::Equal => figure == number,
            Operator::NotEqual => figure != number,
            Operator::Greater => figure > number,
            Operator::Less => figure < number,
        }
    }
}

impl FromStr for Condition {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let explained = || {
            format!(
                "{text:?} is no condition: use FIELD OP NUMBER with > >= < <= == or !=, as in \"frozen>0\""
            )
        };
        let at = text.find(['>', '<', '=', '!']).ok_or_else(explained)?;
        let (field, rest) = text.split_at(at);
        let found = OPERATORS.iter().find_map(|(word, op)| Some((op, rest.strip_prefix(word)?)));
        let (operator, number) = found.ok_or_else(explained)?;
        let number: f64 = number.trim().parse().map_err(|_| explained())?;
        let field = field.trim();
        if field.is_empty() || !number.is_finite() {
            return Err(explained());
        }
        Ok(Self { field: field.to_owned(), operator: *operator, number })
    }
}

impl TryFrom<String> for Condition {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.field, self.operator.word(), self.number)
    }
}

impl Condition {
    /// Whether it holds of its figure.
    pub fn holds(&self, figure: f64) -> bool {
        self.operator.holds(figure, self.number)
    }

    /// What the figure is, and what it must not be.
    pub fn told(&self, figure: f64) -> String {
        let (figure, number) = ((figure * 1000.0).round() / 1000.0, self.number);
        format!("{} is {figure}; it must not be {} {number}", self.field, self.operator.word())
    }

    /// An error unless its figure is among those that are known.
    pub fn check(&self, known: &[String]) -> anyhow::Result<()> {
        let (field, names) = (&self.field, known.join(", "));
        ensure!(known.contains(field), "there is no figure {field:?}; there are: {names}");
        Ok(())
    }

    /// The figure that it is about.
    pub fn field(&self) -> &str {
        &self.field
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_condition_is_read_with_and_without_blanks() {
        for (text, holds) in [
            ("handoffs.failed>1", true),
            ("handoffs.failed >= 2", true),
            ("handoffs.failed<2", false),
            ("handoffs.failed == 2.0", true),
            ("handoffs.failed != 2", false),
            ("handoffs.failed<=-1e3", false),
        ] {
            let condition: Condition = text.parse().unwrap();
            assert_eq!(
                (condition.holds(2.0), condition.field()),
                (holds, "handoffs.failed"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_right_ones() {
        let known = ["frozen".to_owned(), "side".to_owned()];
        let check = |text: &str| text.parse::<Condition>().unwrap().check(&known);
        assert!(check("side>0").is_ok());
        let error = check("frosen>0").unwrap_err().to_string();
        assert!(error.contains("frosen") && error.contains("frozen, side"), "{error}");
    }

    #[test]
    fn what_is_told_names_the_figure_and_the_bound() {
        let condition: Condition = "gap_ms>=200".parse().unwrap();
        assert_eq!(condition.told(40.12345), "gap_ms is 40.123; it must not be >= 200");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            field in "[a-z_]{1,12}(\\.[a-z_]{1,9})?",
            operator in 0_usize..OPERATORS.len(),
            number in -1e9_f64..1e9,
        ) {
            let condition = Condition { field, operator: OPERATORS[operator].1, number };
            prop_assert_eq!(condition.to_string().parse::<Condition>().unwrap(), condition);
        }

        #[test]
        fn exactly_one_of_less_equal_and_greater_holds(figure in -9_i32..9, number in -9_i32..9) {
            let holds = |op: &str| {
                let condition: Condition = format!("x{op}{number}").parse().unwrap();
                condition.holds(f64::from(figure))
            };
            prop_assert_eq!(["<", "==", ">"].iter().filter(|op| holds(op)).count(), 1);
            prop_assert_eq!(holds("<="), !holds(">"));
            prop_assert_eq!(holds(">="), !holds("<"));
            prop_assert_eq!(holds("!="), !holds("=="));
        }

        #[test]
        fn nonsense_is_refused_and_never_a_panic(text in ".{0,24}") {
            if let Err(error) = text.parse::<Condition>() {
                prop_assert!(error.contains("is no condition"));
            }
        }
    }
}
