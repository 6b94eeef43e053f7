"""`jaxff demo`: the main job from nothing to a report, with an empirical potential in the place of DFT."""
