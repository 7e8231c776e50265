/** What is declared about another milter that runs as a filter. Re-exported by `Milter`. */
import * as Duration from "effect/Duration"
import type { MacroStage } from "../../../Macros.ts"
import type { Capability } from "../../../Modification.ts"
import type { Stage } from "../../../Stage.ts"
import { checkKeys, checkNames, keysOf } from "../../bytes/knownKeys.ts"
import { allStages, answeredStages } from "../../protocol/stageTable.ts"
import { define } from "../definition.ts"

/**
 * Options of {@link remote}.
 *
 * @category models
 * @since 0.1.0
 */
export interface RemoteOptions {
  /** The address of the milter, as the `Dialer` takes it: `inet:8891@127.0.0.1` or `unix:/run/opendkim/opendkim.sock`. */
  readonly to: string
  /** The modifications that the milter may make, as in `Milter.make`; `[]` for none. */
  readonly modify: ReadonlyArray<Capability>
  /**
   * The stages that the milter may take part in: all ten if not given. `rejectedRecipient` is shown only if it is declared.
   * End of message always belongs to them.
   */
  readonly stages?: ReadonlyArray<Stage>
  /** The macros that the milter may ask for, by stage. Without a list it gets what the MTA sends by itself. */
  readonly macros?: { readonly [K in MacroStage]?: ReadonlyArray<string> }
  /** Whether the milter signs mail. A server does not start if a filter after it may edit the message. */
  readonly signs?: boolean
  /** How long the milter may take. In any case it has the time that the server leaves for the answer. */
  readonly timeouts?: {
    /** For the connection and the negotiation; 30 s if not given. */
    readonly connect?: Duration.Input
    /** For the answer to a command before end of message; 30 s if not given. */
    readonly command?: Duration.Input
    /** For the answer to end of message, progress included; 5 minutes if not given. */
    readonly endOfMessage?: Duration.Input
  }
}

const optionNames = keysOf<RemoteOptions>({
  to: true,
  modify: true,
  stages: true,
  macros: true,
  signs: true,
  timeouts: true
})

const timeoutNames = keysOf<NonNullable<RemoteOptions["timeouts"]>>({
  connect: true,
  command: true,
  endOfMessage: true
})

/** Throws for options that are wrong: where the filter is made, and not when the server starts. */
export const checkRemote = (name: string, options: RemoteOptions): void => {
  checkKeys(`option of ${name}`, options, optionNames)
  checkKeys(`timeout of ${name}`, options.timeouts ?? {}, timeoutNames)
  checkNames(`stage of ${name}`, options.stages ?? [], allStages)
  timesOf(options)
  define(name, { modify: options.modify, macros: options.macros ?? {} }, {}, {})
}

/** Milliseconds; undefined if not given. */
export interface RemoteTimes {
  readonly connect: number | undefined
  readonly command: number | undefined
  readonly endOfMessage: number | undefined
}

export const timesOf = ({ timeouts }: RemoteOptions): RemoteTimes => {
  const milliseconds = (input: Duration.Input | undefined): number | undefined =>
    input === undefined ? undefined : Duration.toMillis(input)
  return {
    connect: milliseconds(timeouts?.connect),
    command: milliseconds(timeouts?.command),
    endOfMessage: milliseconds(timeouts?.endOfMessage)
  }
}

/** The stages of the declaration. MAIL and end of message are the library's own concern too, whatever is declared. */
export const stagesOf = ({ stages = answeredStages }: RemoteOptions): ReadonlySet<Stage> =>
  new Set<Stage>([...stages, "endOfMessage"])
