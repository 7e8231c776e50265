/** Says what to do when a filter cannot be reached or breaks the protocol. */
import type { FrameError } from "../../Frame.ts"
import type { ClientError } from "../../MilterClient.ts"
import type { PacketError } from "../../Packet.ts"
import * as exit from "./exit.ts"

const codeOf = (cause: unknown): string =>
  typeof cause === "object" && cause !== null && "code" in cause ? String(cause.code) : ""

/** Says why a connection to `address` failed, and what helps. `flag` is the flag that gave the address. */
export const unreachable = (address: string, cause: unknown, flag: string): exit.Trouble => {
  const code = codeOf(cause)
  switch (code) {
    case "ECONNREFUSED":
      return exit.trouble(`nobody listens on ${address}: start the filter, or correct ${flag}`)
    case "ENOENT":
      return exit.trouble(`there is no socket at ${address}: start the filter, or correct ${flag}`)
    case "ENOTDIR":
      return exit.trouble(`a part of ${address} is a file, not a directory: correct ${flag}`)
    case "ETIMEDOUT":
    case "EHOSTUNREACH":
    case "ENETUNREACH":
      return exit.trouble(
        `the host of ${address} cannot be reached: correct ${flag}, or look at the network and its firewalls`
      )
    case "EACCES":
    case "EPERM":
      // The client names the group.
      return exit.trouble(`${exit.lineOf(cause)}; or become root`)
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return exit.trouble(`the host of ${address} is not known: correct ${flag}, or give its IP address`)
    case "ECONNRESET":
    case "EPIPE":
      return exit.trouble(
        `${address} closed the connection at once: it may not be a milter, or it may not accept this host; see its log`
      )
    case "ENOTSOCK":
      return exit.trouble(`${address} is a regular file, not a socket: correct ${flag}`)
    default:
      return exit.trouble(`cannot connect to ${address}: ${exit.lineOf(cause)}`)
  }
}

const stranger = (address: string, detail: string, flag: string): exit.Trouble =>
  exit.trouble(
    `what listens on ${address} does not speak the milter protocol (${detail}): ${flag} wants the address of a filter`
  )

/** The text in place of a frame's length, if it is text: the greeting of another kind of server. */
const greeting = (length: number): string | undefined => {
  const text = String.fromCharCode(length >>> 24, (length >>> 16) & 0xff, (length >>> 8) & 0xff, length & 0xff)
  return /^[ -~]{4}$/.test(text) ? text : undefined
}

const detailOf = (error: FrameError | PacketError): string => {
  const text = error._tag === "FrameError" ? greeting(error.length) : undefined
  return text === undefined ? exit.lineOf(error) : `it begins with "${text}"`
}

/** A failed session with the filter of a module, served in this process. */
export const explainOwn = (file: string, { command, reason }: ClientError): exit.Trouble =>
  exit.trouble(`${file} has no answer${command === undefined ? "" : ` to ${command}`}: ${exit.lineOf(reason)}`)

/** A failed session with a filter, on one line. */
export const explain = (error: ClientError, flag = "--to"): exit.Trouble => {
  const { address, command, reason } = error
  const isFirst = command === undefined || command === "Negotiate"
  switch (reason._tag) {
    case "Unreachable":
      return unreachable(address, reason.cause, flag)
    case "FrameError":
    case "PacketError":
      return isFirst
        ? stranger(address, detailOf(reason), flag)
        : exit.trouble(`${exit.lineOf(error)}: the filter breaks the protocol`)
    case "UnexpectedReply":
      return isFirst ? stranger(address, exit.lineOf(error), flag) : exit.trouble(exit.lineOf(error))
    case "Timeout":
      return isFirst
        ? stranger(address, `no answer within ${reason.milliseconds / 1000} s`, flag)
        : exit.trouble(`${exit.lineOf(error)}: look into the filter's log`)
    case "Closed":
      return exit.trouble(
        isFirst
          ? `${address} closed the connection at once: it may not be a milter, or it may not accept this host or this MTA; see its log`
          : `${exit.lineOf(error)}: look into the filter's log`
      )
    default:
      return exit.trouble(exit.lineOf(error))
  }
}
