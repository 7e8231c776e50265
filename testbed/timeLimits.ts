/** Time limits of tests, in milliseconds: generous, so that nothing fails because a machine is slow or busy. */

/** For a test. */
export const forTest = 300_000

/** For a test with much to do: thousands of sessions, an image of a container. */
export const forLongTest = 900_000

/** For what a test waits for: a process, an MTA, a peer. Less than a test has, so that the message says what was missing. */
export const forEvent = 60_000
