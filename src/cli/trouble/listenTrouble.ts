/** Says why a filter or a trace cannot listen, and what helps. */
import * as Result from "effect/Result"
import * as Path from "node:path"
import * as endpoint from "../../internal/net/endpoint.ts"
import type { ListenError } from "../../MilterServer.ts"
import * as exit from "./exit.ts"

const causeOf = ({ cause }: ListenError): string =>
  cause instanceof Error && !("code" in cause) ? ` (${exit.lineOf(cause)})` : ""

const inUse = (where: endpoint.Endpoint | undefined, flag: string): string =>
  where?._tag === "Tcp"
    ? `stop the program that listens there (ss -ltnp shows it), or give ${flag} another port`
    : `stop the program that listens there (ss -lxp shows it), or give ${flag} another path`

const denied = (where: endpoint.Endpoint | undefined, flag: string): string =>
  where?._tag === "Tcp"
    ? where.port < 1024
      ? `only root may listen on ports below 1024: give ${flag} a higher one`
      : `the system forbids this port to this user: give ${flag} another one, or allow it (with SELinux: semanage port)`
    : where === undefined
    ? `correct ${flag}`
    : `this user may not write to ${
      Path.dirname(where.path)
    }: run as its owner, or give ${flag} a path in another directory`

const missing = (where: endpoint.Endpoint | undefined, flag: string): string =>
  where?._tag === "Unix"
    ? `${
      Path.dirname(where.path)
    } is no directory: make it (mkdir -p; with systemd RuntimeDirectory=), or correct ${flag}`
    : `correct ${flag}`

const advice = (error: ListenError, flag: string): string => {
  const parsed = endpoint.parse(error.address)
  const where = Result.isSuccess(parsed) ? parsed.success : undefined
  switch (error.reason) {
    case "AddressInUse":
      return inUse(where, flag)
    case "AddressNotAvailable":
      return `give ${flag} an address of this host (ip address shows them), or 127.0.0.1`
    case "PermissionDenied":
      return denied(where, flag)
    case "DirectoryMissing":
      return missing(where, flag)
    case "UnknownHost":
      return `correct the name, or give ${flag} an IP address`
    case "NotASocket":
      return `remove the file, or give ${flag} another path`
    case "NotPassed":
      return `start the program by its systemd socket unit, or give ${flag} an address`
    case "UnknownOwner":
      return "correct the owner or the group of the socket"
    case "WorkersNotSupported":
      return "run the program with Node, or without --workers"
    case "InvalidAddress":
    case "Other":
      return `correct ${flag}`
  }
}

/** One line. `flag` is the flag that gave the address. */
export const listenTrouble = (error: ListenError, flag = "--listen"): exit.Trouble =>
  exit.trouble(`${error.message}${causeOf(error)}: ${advice(error, flag)}`)
