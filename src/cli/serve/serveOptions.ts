/**
 * The options of `serve`, each declared once: flag, variable, key of the configuration file, and the text of the help come
 * from here.
 */
import * as Flag from "effect/cli/Flag"
import type * as Option from "effect/Option"
import * as logLevel from "../flags/logLevel.ts"
import { pathFlag } from "../flags/specs.ts"

/** What an option concerns. A module that exports a layer brings its own options of `filter` and `server`. */
type Concern = "process" | "filter" | "server"

interface Declared {
  readonly concern: Concern
  /** What stands for the value in the help; without it the option is a switch. */
  readonly metavar?: string
  readonly about: string
  /** What holds if it is not given. */
  readonly standard?: string
  /** Whether it can be given several times. */
  readonly repeats?: boolean
  /** Whether it is the path of a file, which shells complete. */
  readonly isPath?: boolean
  /** Another name of the flag. */
  readonly alias?: string
}

const declared = {
  listen: {
    concern: "process",
    metavar: "SPEC",
    about: "Where the MTA connects to; can be repeated",
    repeats: true
  },
  "socket-mode": {
    concern: "process",
    metavar: "MODE",
    about: "The mode of UNIX sockets; the MTA has to be able to write",
    standard: "660",
    alias: "mode"
  },
  "socket-owner": {
    concern: "process",
    metavar: "NAME",
    about: "The owner of UNIX sockets, by name or number",
    standard: "the user of the process"
  },
  "socket-group": {
    concern: "process",
    metavar: "NAME",
    about: "The group of UNIX sockets, by name or number",
    standard: "that of the process"
  },
  user: {
    concern: "process",
    metavar: "NAME[:GROUP]",
    about: "The user, and group, that root becomes when the sockets are bound"
  },
  workers: {
    concern: "process",
    metavar: "N|auto",
    about: "Processes that serve; auto is one for each core",
    standard: "1"
  },
  http: {
    concern: "process",
    metavar: "SPEC",
    about: "Where to show /metrics, /live, /ready and /status",
    standard: "nowhere"
  },
  watch: {
    concern: "process",
    about: "Starts new workers when the module, or a file that it has loaded, changes"
  },
  "log-format": {
    concern: "process",
    metavar: "pretty|logfmt|json",
    about: "The format of the log, on standard error",
    standard: "pretty on a terminal, else logfmt"
  },
  "log-level": {
    concern: "process",
    metavar: "LEVEL",
    about: `The least level of the log: ${logLevel.names.join(", ")}`,
    standard: "info, with --check warn"
  },
  config: {
    concern: "process",
    metavar: "FILE",
    isPath: true,
    about: "A file of options, JSON or (.toml) TOML, with the names of the flags as keys"
  },
  check: {
    concern: "process",
    about: "Loads and builds all, negotiates as each MTA does, and ends: 0 if all is well. Nothing listens"
  },
  "check-message": {
    concern: "process",
    metavar: "MESSAGE.eml",
    isPath: true,
    about: "Checks as --check does, and sends this message through the filter"
  },
  shadow: {
    concern: "filter",
    about: "Runs the filter on trial: it decides and changes nothing, the log says what it would have done"
  },
  "on-failure": {
    concern: "filter",
    metavar: "tempfail|reject|pass",
    about: "What to do when the filter fails and says nothing itself",
    standard: "as --on-defect says"
  },
  "on-defect": {
    concern: "filter",
    metavar: "tempfail|reject|pass",
    about: "What to do when the filter breaks or takes too long",
    standard: "what the filter says, else tempfail"
  },
  "max-connections": {
    concern: "server",
    metavar: "N",
    about: "Connections at a time, of all workers",
    standard: "1000"
  },
  "max-silent-connections": {
    concern: "server",
    metavar: "N",
    about: "Connections at a time that have not negotiated yet",
    standard: "1000"
  },
  "max-frame-length": {
    concern: "server",
    metavar: "BYTES",
    about: "The longest command of an MTA",
    standard: "1048576"
  },
  "max-headers": { concern: "server", metavar: "N", about: "Header fields of a message", standard: "no limit" },
  "max-header-bytes": {
    concern: "server",
    metavar: "BYTES",
    about: "Bytes of the header of a message",
    standard: "no limit"
  },
  "max-body-bytes": {
    concern: "server",
    metavar: "BYTES",
    about: "Bytes of the body of a message",
    standard: "no limit"
  },
  "too-large": {
    concern: "server",
    metavar: "reject|pass",
    about: "What happens to a message over these three limits",
    standard: "reject"
  },
  "max-recipients": { concern: "server", metavar: "N", about: "Recipients of a message", standard: "no limit" },
  "max-modifications": { concern: "server", metavar: "N", about: "Modifications of a message", standard: "500" },
  "max-macros": { concern: "server", metavar: "N", about: "Macros kept of a session", standard: "512" },
  "max-macro-bytes": {
    concern: "server",
    metavar: "BYTES",
    about: "Bytes of macros kept of a session",
    standard: "65536"
  },
  "max-queued-packets": { concern: "server", metavar: "N", about: "Commands that wait for a hook", standard: "64" },
  peers: {
    concern: "server",
    metavar: "NETWORKS",
    about: "Networks that may connect by TCP, with commas between",
    standard: "everybody"
  },
  "negotiation-timeout": {
    concern: "server",
    metavar: "TIME",
    about: "From the connection of an MTA to its negotiation",
    standard: "10s"
  },
  "command-timeout": { concern: "server", metavar: "TIME", about: "For the answer to a command", standard: "8s" },
  "end-of-message-timeout": {
    concern: "server",
    metavar: "TIME",
    about: "For the answer at end of message",
    standard: "4m"
  },
  "progress-interval": {
    concern: "server",
    metavar: "TIME",
    about: "Between signs of life at end of message",
    standard: "5s"
  },
  "idle-timeout": { concern: "server", metavar: "TIME", about: "Between two commands", standard: "2h" },
  "frame-timeout": {
    concern: "server",
    metavar: "TIME",
    about: "From the first byte of a command to its last",
    standard: "1m"
  },
  "write-timeout": { concern: "server", metavar: "TIME", about: "For the MTA to take an answer", standard: "30s" },
  "stop-timeout": {
    concern: "server",
    metavar: "TIME",
    about: "For a hook to stop after its time is over",
    standard: "10s"
  },
  "drain-timeout": {
    concern: "server",
    metavar: "TIME",
    about: "For sessions to end when the server stops",
    standard: "1m"
  }
} as const satisfies { readonly [flag: string]: Declared }

export type Name = keyof typeof declared

export interface ServeOption extends Declared {
  readonly name: Name
  /** `MILTER_MAX_CONNECTIONS`. */
  readonly variable: string
}

/** `MILTER_MAX_CONNECTIONS`, of `max-connections`. */
const variableOf = (name: string): string => `MILTER_${name.toUpperCase().replaceAll("-", "_")}`

export const options: ReadonlyArray<ServeOption> = Object.entries<Declared>(declared).map(([name, option]) => ({
  ...option,
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a key of the table
  name: name as Name,
  variable: variableOf(name)
}))

/** What was given as flags: texts, or for a switch whether it was given. */
export type GivenFlags = { readonly [name in Name]: ReadonlyArray<string> | Option.Option<string | boolean> }

const flagOf = (
  { about, alias, isPath, metavar, name, repeats, standard, variable }: ServeOption
): Flag.Flag<ReadonlyArray<string> | Option.Option<string | boolean>> => {
  const description = `${about}${standard === undefined ? "" : `; if not given: ${standard}`} [${variable}]`
  if (metavar === undefined) {
    return Flag.Boolean(name).pipe(Flag.withDescription(description), Flag.optional)
  }
  const plain = (isPath === true ? pathFlag(name) : Flag.String(name)).pipe(
    Flag.withMetavar(metavar),
    Flag.withDescription(description)
  )
  const flag = alias === undefined ? plain : Flag.withAlias(plain, alias)
  return repeats === true ? Flag.atLeast(flag, 0) : Flag.optional(flag)
}

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- one for each name
export const flags = Object.fromEntries(options.map((option) => [option.name, flagOf(option)])) as {
  readonly [name in Name]: Flag.Flag<ReadonlyArray<string> | Option.Option<string | boolean>>
}
