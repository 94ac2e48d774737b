"""The momentum copy: an average of weights, buffers copied, tied weights once, no gradient."""

import torch
from torch import nn

from textssl.models.teacher import follow, momentum_copy


class Student(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(4, 3)
        self.output = nn.Linear(3, 4, bias=False)
        self.output.weight = self.embedding.weight
        self.norm = nn.BatchNorm1d(3)


def test_weights_are_averaged_and_tied_ones_once():
    torch.manual_seed(0)
    student = Student()
    teacher = momentum_copy(student)
    old = student.embedding.weight.detach().clone()
    with torch.no_grad():
        student.embedding.weight.add_(1.0)
    follow(teacher, student, 0.75)
    assert torch.allclose(teacher.embedding.weight, old + 0.25, atol=1e-7)
    assert teacher.output.weight is teacher.embedding.weight
    for _ in range(200):
        follow(teacher, student, 0.75)
    assert torch.allclose(teacher.embedding.weight, student.embedding.weight, atol=1e-6)


def test_buffers_are_copied_even_integers():
    student = Student()
    teacher = momentum_copy(student)
    student.norm(torch.randn(5, 3))
    follow(teacher, student, 0.9)
    assert teacher.norm.num_batches_tracked == 1
    assert torch.equal(teacher.norm.running_mean, student.norm.running_mean)  # type: ignore[arg-type]


def test_no_gradient_reaches_it_and_the_student_keeps_its_own():
    student = Student()
    teacher = momentum_copy(student)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert all(parameter.requires_grad for parameter in student.parameters())
    before = [parameter.detach().clone() for parameter in student.parameters()]
    follow(teacher, student, 0.5)
    assert all(torch.equal(a, b) for a, b in zip(before, student.parameters(), strict=True))


def test_the_ends_of_the_momentum():
    student = Student()
    teacher = momentum_copy(student)
    with torch.no_grad():
        student.embedding.weight.mul_(2)
    kept = teacher.embedding.weight.clone()
    follow(teacher, student, 1.0)
    assert torch.equal(teacher.embedding.weight, kept)
    follow(teacher, student, 0.0)
    assert torch.equal(teacher.embedding.weight, student.embedding.weight)


def test_a_teacher_in_float32_follows_a_student_in_less():
    student = nn.Linear(3, 3).bfloat16()
    teacher = momentum_copy(student).float()
    follow(teacher, student, 0.5)
    assert teacher.weight.dtype == torch.float32 and torch.equal(teacher.weight, student.weight.float())
