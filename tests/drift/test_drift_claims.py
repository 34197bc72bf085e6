"""What is said of a loss that labels show, where the window's own figure has no interval."""
from model_ops.drift import words
from model_ops.drift.meaning import Change
from model_ops.drift.parts import Figure


def test_the_estimate_is_not_told_as_what_came():
    figure = lambda value, reach: Figure(value=value, low=value - reach, high=value + reach)
    told = dict(better="lower", reference=0.57, estimated=figure(0.56, 0.02), loss=figure(0.21, 0.03), compared_with="estimate", margin=0.03, outcome="worse")
    assert words._claim("log_loss", Change(**told), figure(0.56, 0.02), False) == "its log loss is 0.21 worse than the 0.56 that its scores let expect"
    known = words._claim("log_loss", Change(**told, realized=figure(0.77, 0.03)), figure(0.77, 0.03), False)
    assert known == "its log loss is 0.77 (0.74 to 0.80), and its scores let 0.56 be expected"
