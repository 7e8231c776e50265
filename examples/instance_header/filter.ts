/** Marks each message with the smtpd that has received it, so that later programs can tell submission from port 25. */
import * as Header from "effect-milter/Header"
import * as Milter from "effect-milter/Milter"
import type * as Stage from "effect-milter/Stage"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"

/** The header field unless told otherwise. */
export const defaultName = "X-Smtpd-Instance"

/** `submission; address=192.0.2.1; port=587; host=mx.example.org`, as far as the MTA tells. */
const instanceOf = ({ macros: { daemon, mtaName }, origin }: Stage.Session): string => {
  const detail = (label: string, value: string | number | undefined) => value === undefined ? [] : [`${label}=${value}`]
  return Header.sanitizeValue([
    origin === "local" ? "local" : daemon.name ?? "unknown",
    ...detail("address", daemon.address),
    ...detail("port", daemon.port),
    ...detail("host", mtaName)
  ].join("; "))
}

/**
 * Adds the field, and removes those of the same name that came with the message: who reads it can rely on its being
 * from here.
 */
export const instanceHeader = (name: string = defaultName) =>
  Milter.make("instance_header", {
    modify: ["addHeader", "deleteHeader"],
    // In place of what the MTA's administrator has configured for connect; neither MTA sends the port of its own accord.
    macros: { connect: ["j", "_", "v", "{daemon_name}", "{daemon_addr}", "{daemon_port}", "{if_addr}"] },
    // How many fields of this name came with the message.
    message: () => Effect.sync(() => ({ forged: 0 }))
  }).on({
    endOfMessage: Effect.fnUntraced(function*(_, { edit, message, session }) {
      // From the highest down, since each that goes moves those below it up.
      for (let index = message.forged; index > 0; index--) yield* edit.deleteHeader(name, index)
      yield* edit.addHeader(name, instanceOf(session))
      return Verdict.continue
    })
  }, {
    header: (header, { message }) =>
      Effect.sync(() => {
        if (header.name.toLowerCase() === name.toLowerCase()) message.forged++
      })
  })
