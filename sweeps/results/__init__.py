"""Tables and labelled arrays over a run: ranking, filtering, export."""
