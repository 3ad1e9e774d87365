import math

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from dwt.training.loss import dwt_loss, linear_dwt_loss

N, V = 17, 31
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


@pytest.fixture
def logits():
    torch.manual_seed(0)
    student = torch.randn(N, V, dtype=torch.float64, requires_grad=True)
    return student, 2 * torch.randn(N, V, dtype=torch.float64), torch.randint(V, (N,))


def heads(*, dtype=torch.float64, bias=True, widths=(8, 6)):
    """Hidden states and output layers of a student and a teacher of other width."""
    torch.manual_seed(1)
    student, teacher = (torch.nn.Linear(d, V, bias=bias, dtype=dtype) for d in widths)
    h, t = (torch.randn(N, d, dtype=dtype) for d in widths)
    return h.requires_grad_(), student, t, teacher, torch.randint(V, (N,))


def test_soft_loss_is_zero_when_student_equals_teacher(logits):
    student, _, targets = logits
    loss = dwt_loss(student, student.detach(), targets)
    assert loss.soft.item() == 0
    assert loss.total.item() == loss.hard.item()


def test_soft_loss_has_no_gradient_when_student_equals_teacher(logits):
    student, _, targets = logits
    loss = dwt_loss(student, student.detach(), targets, hard_weight=0.0)
    (gradient,) = torch.autograd.grad(loss.total, student)
    assert gradient.abs().max() < 1e-15


def test_uniform_student_has_hard_loss_log_v():
    loss = dwt_loss(torch.zeros(N, V), None, torch.arange(N))
    assert loss.hard.item() == pytest.approx(math.log(V))
    assert loss.soft.item() == 0


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_losses_equal_their_closed_forms(logits, temperature):
    student, teacher, targets = logits
    loss = dwt_loss(student, teacher, targets, temperature=temperature)
    z = student.detach()
    p = torch.exp(z) / torch.exp(z).sum(1, keepdim=True)
    assert loss.hard.item() == pytest.approx(-p[range(N), targets].log().mean().item(), rel=1e-12)
    p, q = (torch.exp(x / temperature) for x in (z, teacher))
    p, q = p / p.sum(1, keepdim=True), q / q.sum(1, keepdim=True)
    kl = (q * (q.log() - p.log())).sum(1).mean().item()
    assert loss.soft.item() == pytest.approx(temperature**2 * kl, rel=1e-12)


def test_total_is_equation_3_at_temperature_1(logits):
    student, teacher, targets = logits
    loss = dwt_loss(student, teacher, targets, hard_weight=0.7, soft_weight=4.0)
    hard = F.cross_entropy(student, targets)
    soft = F.kl_div(
        student.log_softmax(1), teacher.log_softmax(1), log_target=True, reduction="batchmean"
    )
    assert loss.total.item() == pytest.approx((0.7 * hard + 4.0 * soft).item(), rel=1e-14)


def test_gradients_pass_gradcheck(logits):
    student, teacher, targets = logits

    def total(z):
        return dwt_loss(z, teacher, targets, hard_weight=0.7, soft_weight=2.0, temperature=2.0)[0]

    assert torch.autograd.gradcheck(total, student)


def test_half_precision_logits_give_a_float32_loss(logits):
    student, teacher, targets = (x.detach() for x in logits)
    loss = dwt_loss(student.bfloat16(), teacher.bfloat16(), targets)
    assert {x.dtype for x in loss[:3]} == {torch.float32}
    exact = dwt_loss(student.bfloat16().double(), teacher.bfloat16().double(), targets)
    assert loss.total.item() == pytest.approx(exact.total.item(), rel=1e-6)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(
    "wrong",
    [{"temperature": 0.0}, {"temperature": -1.0}, {"hard_weight": -1.0}, {"soft_weight": -0.1}],
)
def test_impossible_settings_are_refused(logits, wrong, fused):
    with pytest.raises(ValueError, match="must be"):
        linear_dwt_loss(*heads(), **wrong) if fused else dwt_loss(*logits, **wrong)


def test_another_vocabulary_is_refused(logits):
    student, teacher, targets = logits
    with pytest.raises(ValueError, match="share one vocabulary"):
        dwt_loss(student, teacher[:, 1:], targets)
    h, head, t, _, targets = heads()
    with pytest.raises(ValueError, match="share one vocabulary"):
        linear_dwt_loss(h, head, t, torch.nn.Linear(6, V + 1, dtype=torch.float64), targets)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.7, 4.0), (1.0, 0.0), (0.0, 2.0)])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("chunk_size", [1, 5, N, 1000])
@pytest.mark.parametrize("bias", [True, False])
def test_fused_loss_and_gradients_equal_the_plain_ones(weights, temperature, chunk_size, bias):
    h, head, t, teacher, targets = heads(bias=bias)
    kind = dict(hard_weight=weights[0], soft_weight=weights[1], temperature=temperature)
    plain = dwt_loss(head(h), teacher(t).detach(), targets, **kind)
    fused = linear_dwt_loss(h, head, t, teacher, targets, chunk_size=chunk_size, **kind)
    wanted = [h, *head.parameters()]
    for a, b in zip(plain[:3], fused[:3], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)
    gradients = zip(
        torch.autograd.grad(3 * plain.total, wanted),
        torch.autograd.grad(3 * fused.total, wanted),
        strict=True,
    )
    for a, b in gradients:
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_fused_loss_without_a_teacher_is_cross_entropy():
    h, head, *_, targets = heads()
    loss = linear_dwt_loss(h, head, None, None, targets)
    torch.testing.assert_close(loss.total, F.cross_entropy(head(h), targets))
    assert loss.soft.item() == 0


def test_fused_loss_trains_a_tied_embedding_through_both_of_its_uses():
    torch.manual_seed(0)
    table = torch.nn.Parameter(torch.randn(V, 8, dtype=torch.float64))
    head = torch.nn.Linear(8, V, bias=False, dtype=torch.float64)
    head.weight = table
    ids, targets = torch.randint(V, (2, N))
    plain = dwt_loss(head(table[ids].tanh()), None, targets).total
    fused = linear_dwt_loss(table[ids].tanh(), head, None, None, targets, chunk_size=4).total
    torch.testing.assert_close(
        torch.autograd.grad(plain, table), torch.autograd.grad(fused, table), rtol=1e-12, atol=1e-14
    )


def test_fused_loss_of_bfloat16_hidden_states_is_float32_and_close():
    h, head, t, teacher, targets = heads(dtype=torch.float32)
    exact = linear_dwt_loss(h.double(), head.double(), t.double(), teacher.double(), targets)
    h, t = h.detach().bfloat16().requires_grad_(), t.bfloat16()
    loss = linear_dwt_loss(h, head.float(), t, teacher.float(), targets, chunk_size=4)
    assert {x.dtype for x in loss[:3]} == {torch.float32}
    assert loss.total.item() == pytest.approx(exact.total.item(), rel=2e-2)
    loss.total.backward()
    assert h.grad.dtype == torch.bfloat16
    assert head.weight.grad.dtype == torch.float32


@pytest.mark.parametrize("chunk_size", [4, N])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_effective_weight_is_the_ratio_and_cosine_of_autograds_gradients(temperature, chunk_size):
    h, head, t, teacher, targets = heads()
    kind = dict(hard_weight=0.7, soft_weight=4.0, temperature=temperature)
    logits = head(h)
    loss = dwt_loss(logits, teacher(t).detach(), targets, **kind)
    hard = torch.autograd.grad(loss.hard, logits, retain_graph=True)[0].flatten()
    soft = torch.autograd.grad(loss.soft, logits)[0].flatten()
    fused = linear_dwt_loss(
        h, head, t, teacher, targets, **kind, measure=True, chunk_size=chunk_size
    )
    torch.testing.assert_close(fused.ratio, 4.0 * soft.norm() / (0.7 * hard.norm()))
    torch.testing.assert_close(fused.cosine, F.cosine_similarity(hard, soft, dim=0))


def test_measuring_the_effective_weight_changes_no_gradient():
    h, head, t, teacher, targets = heads()
    a, b = (
        torch.autograd.grad(
            linear_dwt_loss(h, head, t, teacher, targets, measure=measure).total, [h, head.weight]
        )
        for measure in (False, True)
    )
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_without_values_the_gradients_are_the_same_bits_and_the_losses_not_a_number(temperature):
    h, head, t, teacher, targets = heads(dtype=torch.float32)
    kind = dict(soft_weight=2.0, temperature=temperature, chunk_size=5)
    wanted = [h, *head.parameters()]
    full = linear_dwt_loss(h, head, t, teacher, targets, **kind)
    bare = linear_dwt_loss(h, head, t, teacher, targets, **kind, values=False)
    assert all(math.isnan(x.item()) for x in bare[:3])
    pairs = zip(*(torch.autograd.grad(x.total, wanted) for x in (full, bare)), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_effective_weight_without_a_hard_loss_is_infinite():
    assert linear_dwt_loss(*heads(), hard_weight=0.0, measure=True).ratio.item() == math.inf


def test_effective_weight_needs_a_teacher_and_measure():
    h, head, t, teacher, targets = heads()
    assert linear_dwt_loss(h, head, t, teacher, targets).ratio is None
    assert linear_dwt_loss(h, head, None, None, targets, measure=True).ratio is None


def test_fused_loss_is_exactly_zero_soft_when_student_equals_teacher():
    h, head, *_, targets = heads(dtype=torch.float32)
    assert linear_dwt_loss(h, head, h.detach(), head, targets).soft.item() == 0


class _Largest(TorchDispatchMode):
    """The largest tensor that any operation makes."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        made = [t for t in torch.utils._pytree.tree_leaves(out) if isinstance(t, torch.Tensor)]
        self.elements = max(self.elements, *(t.numel() for t in made), 0)
        return out


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_no_tensor_is_larger_than_one_chunk_of_logits(temperature):
    torch.manual_seed(0)
    n, d, v, chunk = 512, 4, 1000, 32
    h, t = torch.randn(n, d, requires_grad=True), torch.randn(n, d)
    student, teacher = torch.nn.Linear(d, v), torch.nn.Linear(d, v)
    with _Largest() as made:
        loss = linear_dwt_loss(
            h, student, t, teacher, torch.randint(v, (n,)),
            temperature=temperature, chunk_size=chunk, measure=True,
        )  # fmt: skip
        loss.total.backward()
    assert made.elements == chunk * v


def test_fused_loss_is_right_where_a_probability_underflows():
    h, head, t, teacher, targets = heads(dtype=torch.float32)
    h = (500 * h.detach()).requires_grad_()
    loss = linear_dwt_loss(h, head, t, teacher, targets)
    exact = dwt_loss(head.double()(h.double()), teacher.double()(t.double()), targets)
    assert loss.total.item() == pytest.approx(exact.total.item(), rel=1e-5)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_fused_loss_under_torch_compile_equals_eager(temperature, device):
    h, head, t, teacher, targets = (x.to(device) for x in heads(dtype=torch.float32))
    h = h.detach().requires_grad_()
    kind = dict(soft_weight=2.0, temperature=temperature, chunk_size=5)

    def total(h, t):
        return linear_dwt_loss(h, head, t, teacher, targets, **kind).total

    wanted = [h, *head.parameters()]
    eager, compiled = total(h, t), torch.compile(total)(h, t)
    torch.testing.assert_close(eager, compiled)
    torch.testing.assert_close(
        torch.autograd.grad(eager, wanted), torch.autograd.grad(compiled, wanted)
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fused_loss_on_every_device_equals_float64_on_cpu(device, dtype):
    h, head, t, teacher, targets = heads(dtype=torch.float32)
    want = dwt_loss(head.double()(h.double()), teacher.double()(t.double()), targets)
    h, t = (x.detach().to(device, dtype) for x in (h, t))
    head, teacher = head.float().to(device), teacher.float().to(device)
    actual = linear_dwt_loss(h.requires_grad_(), head, t, teacher, targets.to(device), chunk_size=5)
    close = 1e-5 if dtype == torch.float32 else 2e-2
    assert actual.total.item() == pytest.approx(want.total.item(), rel=close)
