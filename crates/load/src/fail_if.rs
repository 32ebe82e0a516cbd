//! `--fail-if FIELD OP NUMBER`: what must not be.

use std::{collections::BTreeMap, fmt, str::FromStr};

use anyhow::bail;
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
        let word =
            OPERATORS.iter().find(|(_, op)| *op == self.operator).map_or("", |(word, _)| *word);
        write!(f, "{} {word} {}", self.field, self.number)
    }
}

impl Condition {
    /// Whether it holds; an error if there is no such figure, or if there could be one and this run has none.
    pub fn holds(&self, figures: &Figures, known: &[String]) -> anyhow::Result<bool> {
        match figures.get(&self.field) {
            Some(figure) => Ok(self.operator.holds(*figure, self.number)),
            None if known.contains(&self.field) => {
                bail!("cannot tell whether {self}: this run has no {}", self.field)
            }
            None => bail!("there is no figure {:?}; there are: {}", self.field, known.join(", ")),
        }
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
        let figures = Figures::from([("handoffs.failed".to_owned(), 2.0)]);
        for (text, holds) in [
            ("handoffs.failed>1", true),
            ("handoffs.failed >= 2", true),
            ("handoffs.failed<2", false),
            ("handoffs.failed == 2.0", true),
            ("handoffs.failed != 2", false),
            ("handoffs.failed<=-1e3", false),
        ] {
            let condition: Condition = text.parse().unwrap();
            assert_eq!(condition.holds(&figures, &[]).unwrap(), holds, "{text}");
        }
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_right_ones() {
        let known = ["frozen".to_owned(), "side".to_owned()];
        let condition: Condition = "frosen>0".parse().unwrap();
        let error = condition.holds(&Figures::new(), &known).unwrap_err().to_string();
        assert!(error.contains("frosen") && error.contains("frozen, side"), "{error}");
        let condition: Condition = "side>0".parse().unwrap();
        let error = condition.holds(&Figures::new(), &known).unwrap_err().to_string();
        assert!(error.contains("this run has no side"), "{error}");
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
            let figures = Figures::from([("x".to_owned(), f64::from(figure))]);
            let holds = |op: &str| {
                let condition: Condition = format!("x{op}{number}").parse().unwrap();
                condition.holds(&figures, &[]).unwrap()
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
