//! Multiple description coding: deal out, merge, conceal, continuity verdicts.
