/** The queue id of the message that a session is at, for loggers that put it into each line. */
import * as Context from "effect/Context"

/** Tells the id, which MTAs announce only in the course of a message. */
export const CurrentQueueId = Context.Reference<() => string | undefined>("effect-milter/observe/CurrentQueueId", {
  defaultValue: () => () => undefined
})
