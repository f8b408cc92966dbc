"""How much of a study the tests do."""

# Overrides of `pv-sparse train`.
SMALL = (
    "trainer.max_epochs=1",
    "trainer.check_val_every_n_epoch=1",
    "optim.warmup_epochs=0",
    "data.train.num_videos=4",
    "data.val.num_videos=4",
    "data.batch_size=2",
    "input.size=32",
    "input.resize=32",
)
