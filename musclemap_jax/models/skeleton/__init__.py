"""HD-GCN, the skeleton branch."""
