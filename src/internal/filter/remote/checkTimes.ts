/** Whether the times that milters declare fit into those of the server: its filters share the time of each answer. */
import * as Result from "effect/Result"
import { InvalidValue } from "../../../InvalidValue.ts"
import type { Definition, Definitions } from "../definition.ts"
import type { RemoteTimes } from "./remoteOptions.ts"

/** The server's times, in milliseconds. */
interface ServerTimes {
  readonly command: number
  readonly endOfMessage: number
}

const seconds = (milliseconds: number): string => `${milliseconds / 1000} s`

/** The time of one milter for an answer; at connect the connection and the answer come out of the same time. */
const timeFor = ({ command, connect, endOfMessage }: RemoteTimes, answer: keyof ServerTimes): number =>
  answer === "command" ? (connect ?? 0) + (command ?? 0) : endOfMessage ?? 0

const check = (
  definitions: Definitions,
  times: ServerTimes,
  answer: keyof ServerTimes,
  option: string
): InvalidValue | undefined => {
  const declared = definitions.flatMap(({ name, remote }: Definition) => {
    const time = remote === undefined ? 0 : timeFor(remote, answer)
    return time === 0 ? [] : [{ name, time }]
  })
  const sum = declared.reduce((sum, { time }) => sum + time, 0)
  if (sum <= times[answer]) return undefined
  return new InvalidValue({
    what: "timeouts",
    value: declared.map(({ name, time }) => `${name} ${seconds(time)}`).join(" + "),
    reason: `expected at most ${seconds(times[answer])} together, which the server has for ${
      answer === "command" ? "the answer to a command" : "the answer to end of message"
    }, not ${seconds(sum)}: declare less, or raise ${option} of the server, below the MTA's own time`
  })
}

/** Fails if the declared times of the milters are more than the server's. */
export const checkTimes = (definitions: Definitions, times: ServerTimes): Result.Result<void, InvalidValue> => {
  const invalid = check(definitions, times, "command", "commandTimeout") ??
    check(definitions, times, "endOfMessage", "endOfMessageTimeout")
  return invalid === undefined ? Result.void : Result.fail(invalid)
}
