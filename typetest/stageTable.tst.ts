/** The public types of stages, which stay written out, say what the table of stages says. */
import type * as Macros from "effect-milter/Macros"
import type * as Milter from "effect-milter/Milter"
import type * as Stage from "effect-milter/Stage"
import type * as Verdict from "effect-milter/Verdict"
import { describe, expect, it } from "tstyche"
import type {
  AnsweredStage,
  BeginningStage,
  MacroStageName,
  SessionStage,
  StageName,
  stageTable
} from "../src/internal/protocol/stageTable.ts"

type Table = typeof stageTable

/** What the table says of each stage that is answered. */
type Legal = {
  readonly [K in AnsweredStage]: Extract<Verdict.Verdict, { readonly _tag: Table[K]["verdicts"][number] }>
}

describe("the table of stages", () => {
  it("has the stages of Stage.Events", () => {
    expect<StageName>().type.toBe<Stage.Stage>()
  })

  it("has the verdicts of Verdict.ByStage", () => {
    expect<AnsweredStage>().type.toBe<keyof Verdict.ByStage>()
    expect<Legal>().type.toBe<{ readonly [K in keyof Verdict.ByStage]: Verdict.ByStage[K] }>()
  })

  it("has the stages without a message of Stage.OutsideMessage", () => {
    expect<SessionStage>().type.toBe<Stage.OutsideMessage>()
  })

  it("has the stages of Milter.Condition", () => {
    expect<BeginningStage>().type.toBe<
      Exclude<keyof Milter.Condition, keyof Milter.RecipientCondition | keyof Milter.DataCondition>
    >()
  })

  it("has the macro lists of Macros.MacroStage", () => {
    expect<MacroStageName>().type.toBe<Macros.MacroStage>()
  })
})
