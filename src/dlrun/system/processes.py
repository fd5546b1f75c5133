"""Name the variable by which a process finds the run in whose training it takes part."""

JOINED_RUN = "DLRUN_JOINED_RUN"
