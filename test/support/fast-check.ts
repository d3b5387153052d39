import fc from "fast-check";

/** Property tests draw the same values every time; a seed of one's own looks further: `FAST_CHECK_SEED=7`. */
fc.configureGlobal({ seed: Number(process.env["FAST_CHECK_SEED"] ?? 3261) });

export { fc };
