"""Splits rows into training, validation and test rows: `split` by the config's rule, each rule in a module of its own.

| module | rule |
|---|---|
| `shuffled` | random: all rows shuffled, then cut |
| `stratified` | each class has the same share in every split |
| `groups` | rows of one group stay together |
| `times` | older rows train, newer ones validate, the newest test |
| `named` | a column names each row's split |

`folds` divides rows by the same rules for a cross-validation.
"""
