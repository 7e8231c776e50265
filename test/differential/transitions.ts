/**
 * The order of commands as libmilter sees it: what it runs, and what it swallows without an answer. The driver has to know,
 * since it cannot wait for an answer that never comes.
 */
import { Step } from "effect-milter/Negotiation"

/** In libmilter's order, which tells which state follows when one is passed over. `^` is the state before negotiation. */
const order = "^OCHMRTLNBEQAUK"

/** Which commands may follow, by the command before. */
const followers: { readonly [state: string]: string } = {
  "^": "O",
  O: "CU",
  C: "HMU",
  H: "HMU",
  M: "RAU",
  R: "RTLNBEAU",
  T: "LNA",
  L: "LNA",
  N: "BEA",
  B: "BEA",
  E: "MUQK",
  Q: "",
  A: "",
  U: "HMRTBUAQK",
  K: "CU"
}

const leftOut: { readonly [state: string]: number } = {
  C: Step.noConnect,
  H: Step.noHelo,
  M: Step.noMail,
  R: Step.noRcpt,
  T: Step.noData,
  L: Step.noHeaders,
  N: Step.noEndOfHeaders,
  B: Step.noBody,
  U: Step.noUnknown
}

/** One connection. */
export class Transitions {
  private state = "^"
  private readonly steps: number

  /**
   * `steps` are those that the filter wants: libmilter passes over the states of callbacks that the application has not
   * registered, also where the MTA is not able to leave their commands out.
   */
  constructor(steps: number) {
    this.steps = steps
  }

  /** A command arrives: whether libmilter runs its callback. Macros and quit are always taken. */
  takes(command: string): boolean {
    if (!this.allows(this.state, command)) {
      // It aborts an open message and tries again as if after HELO.
      this.state = "H"
      if (!this.allows("H", command)) return false
    }
    this.state = command
    return true
  }

  /** The callback of the latest command gave this verdict. */
  answered(verdict: string): void {
    const refuses = verdict === "r" || verdict === "t" || verdict === "y" || verdict === "d"
    if (verdict === "a" || (refuses && this.state !== "R" && this.state !== "U")) this.state = "H"
  }

  private allows(state: string, command: string): boolean {
    for (let index = order.indexOf(state); index < order.length; index++) {
      if (followers[order[index]!]!.includes(command)) return true
      const next = order[index + 1]
      if (next === undefined || (this.steps & (leftOut[next] ?? 0)) === 0) return false
    }
    return false
  }
}
