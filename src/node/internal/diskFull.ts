/** Tells a disk that is full from other failures. */
import * as Cause from "effect/Cause"
import * as Predicate from "effect/Predicate"

/** No room on the disk, or none left of the user's part of it. */
const codes: ReadonlyArray<unknown> = ["ENOSPC", "EDQUOT"]

/** The longest chain of causes that is followed; errors may be caused by themselves. */
const deepest = 8

const hasCode = (error: unknown, depth = 0): boolean => {
  if (depth === deepest) return false
  if (Predicate.hasProperty(error, "code") && codes.includes(error.code)) return true
  // A PlatformError of Effect has a reason, and the reason has the system's error for its cause.
  return (Predicate.hasProperty(error, "cause") && hasCode(error.cause, depth + 1)) ||
    (Predicate.hasProperty(error, "reason") && hasCode(error.reason, depth + 1))
}

/** Whether something has failed because the disk is full, or died of it. */
export const isDiskFull = (cause: Cause.Cause<unknown>): boolean =>
  cause.reasons.some((reason) =>
    Cause.isFailReason(reason) ? hasCode(reason.error) : Cause.isDieReason(reason) && hasCode(reason.defect)
  )
