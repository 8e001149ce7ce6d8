"""Seeds that once failed for a defect of the core, each with what it was."""

import pytest
from sim.seeds import check_seed, disturbed, undisturbed

FOUND = {
    850: "what was approved once was asked again when the node ran again after a crash",
    1361: "an agent went on behind the end of its own call, where the process died before the end of the attempt",
    7357: "what an attempt had cost was missing in its record, where a run was taken up after a crash only to be ended",
    260: "what a person was asked before a crash, and a grant answered after it, stayed open in the record",
    4228: "what a call had just asked stayed open in the record, where the call was stopped before the question was on the disk",
    7109: "an approval had expired, where the process died before what had stopped its call was on record: it counted as a refusal",
    2946: "a run was cancelled, by its record, and ended otherwise: its last answer had come in the same moment",
    400687: "after a crash what had come from outside through a node of items did not count as such any more",
    402220: "a replay let an attempt that had been stopped go on behind its last call, where it crashed its worker",
    404738: "a run hung for ever that was cancelled while it was taken up for the time of a gate of its child",
    19915: "what an earlier process had asked and a grant answered expired, too, where its attempt was stopped right after",
    81508: "a child run that was about to be stopped went on to a model when its parent, which was ending, was resumed",
    16730: "a nested opening ran out of time in a pause, where its agents had not got a turn before",
    546633: "a node ran out of time in a pause, where its worker had died under a call that waited for the pause to end",
    510639: "what a person had approved for the whole run answered a question that was open only where a crash came in between",
    710096: "a run whose child was at work looked again and again whether it could be parked",
    7022042: "a nested opening ran out of time while it waited, where all runs of its family looked in the same moment",
    7023178: "what had come from outside to an attempt did not count as such any more, where its worker was lost before it told of it",
    4034: "a run was out of time when it was taken up, since the clock had been set while it worked",
    60003715: "a run was out of time when it was taken up once more, since the clock had been set between its claim and its drive",
    60036041: "a question whether something had happened stayed open, where its attempt was stopped in a pause before it asked again",
    80010292: "a fork from the end of a gate's time left a node of items as it was before it was sent back",
    98000648: "a cancelled run ended well: the time of a gate had come, where it was taken up twice to be ended",
    98012671: "an attempt that a pause had held back began after its process had left the run, which was being resumed in that moment",
    1324: "a parked child run was resumed with its parent before it was taken up, and once more then",
    20684: "a child run that had ended gave its parent no outputs of a node of items",
}


@pytest.mark.parametrize("seed", FOUND)
def test_what_was_found_once_holds(tmp_path, seed):
    assert check_seed(seed, tmp_path).problems == []


def test_a_gate_whose_time_ran_out_while_no_process_was_there_goes_by_its_time_and_else_by_the_person(tmp_path):
    whole, process = undisturbed(422, tmp_path)
    again, _, _ = disturbed(422, tmp_path, process.points)
    assert (whole.check.problems, again.check.problems) == ([], [])  # that no gate closed before its time is among them
    assert (len(whole.run_out), len(again.run_out)) == (0, 1)
