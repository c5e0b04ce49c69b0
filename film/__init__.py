"""From an idea to a finished film: plan, clips of local and hosted models on one bank, consistency, merging, report."""
