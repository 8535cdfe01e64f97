"""The exploratory experiment of BAS: scores of masks of every size."""
