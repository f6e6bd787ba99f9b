"""Run, resume, replay and confirm: the loop over rounds that ties the rooms together."""
