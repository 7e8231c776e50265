/** Fails when it is loaded. */
throw new Error("the list\nis not there")
