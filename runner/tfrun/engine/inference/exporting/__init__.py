"""A trained model as one that takes raw rows (`portable`), in a format (`formats`), checked in a `clean_process`."""
