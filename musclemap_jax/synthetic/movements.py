"""Movement patterns and the muscle regions that they activate; an activity's regions are the union over its patterns.

The same movement thus has the same regions wherever it occurs. Regions are the prime movers, the main synergists, and
the stabilisers that the sources report as clearly active.

Sources:
  [NSCA]     Haff and Triplett (eds.), Essentials of Strength Training and Conditioning, 4th ed., 2016, ch. 14, 15, 18.
  [ACE]      American Council on Exercise, Exercise Library, acefitness.org.
  [ExRx]     ExRx.net, Exercise and Muscle Directory: target, synergist and stabiliser muscles.
  [Delavier] Delavier, Strength Training Anatomy, 3rd ed., 2010.
  [EMG-a]    Escamilla, Knee biomechanics of the dynamic squat exercise, Med Sci Sports Exerc 33, 2001.
  [EMG-b]    Escamilla et al., Core muscle activation during Swiss ball and traditional abdominal exercises,
             J Orthop Sports Phys Ther 40, 2010.
  [EMG-c]    Ekstrom, Donatelli and Carp, Electromyographic analysis of core trunk, hip, and thigh muscles during
             9 rehabilitation exercises, J Orthop Sports Phys Ther 37, 2007.
  [EMG-d]    Distefano et al., Gluteal muscle activation during common therapeutic exercises,
             J Orthop Sports Phys Ther 39, 2009.
  [EMG-e]    McGill and Marshall, Kettlebell swing, snatch, and bottoms-up carry, J Strength Cond Res 26, 2012.
  [EMG-f]    Youdas et al., Surface electromyographic activation patterns and elbow joint motion during a pull-up,
             chin-up, or perfect-pullup rotational exercise, J Strength Cond Res 24, 2010.
  [EMG-g]    Cogley et al., Comparison of muscle activation using various hand positions during the push-up exercise,
             J Strength Cond Res 19, 2005.
  [EMG-h]    Schoenfeld et al., An electromyographic comparison of a modified version of the plank with a long lever and
             posterior tilt versus the traditional plank exercise, Sports Biomech 13, 2014.
  [EMG-i]    Fenwick, Brown and McGill, Comparison of different rowing exercises, J Strength Cond Res 23, 2009.
"""

from __future__ import annotations

from collections.abc import Iterable

from musclemap_jax.taxonomy import MUSCLE_REGIONS

MOVEMENTS: dict[str, tuple[str, ...]] = {
    # Legs and hips.
    "squat": ("quadriceps", "gluteus", "hamstring"),  # NSCA, EMG-a
    "lunge": ("quadriceps", "gluteus", "hamstring", "calves"),  # NSCA; soleus as a synergist: ExRx
    "wide stance": ("inner thigh",),  # adductor magnus: ExRx, Delavier
    "hip extension": ("gluteus", "hamstring", "lower back"),  # NSCA, EMG-c: bridge, quadruped leg lift
    "hip abduction": ("outer thigh", "gluteus"),  # EMG-d
    "hip flexion": ("lower abdominis", "quadriceps"),  # rectus femoris: EMG-b; ExRx leg raise
    "knee flexion": ("hamstring",),  # NSCA, ExRx leg curl
    "leg spread and close": ("inner thigh", "outer thigh"),  # ACE: jacks
    "heel raise": ("calves", "feet ankles"),  # NSCA, Delavier
    "leap": ("calves", "feet ankles", "quadriceps"),  # NSCA ch. 18, plyometrics
    # Pushes and raises.
    "horizontal press": ("chest", "triceps", "shoulder"),  # NSCA; push-up: EMG-g
    "chest fly": ("chest", "shoulder"),  # NSCA, ExRx
    "overhead press": ("shoulder", "triceps", "upper back"),  # NSCA; trapezius as a synergist: ExRx
    "arms held up": ("shoulder",),  # ExRx
    "side raise": ("shoulder", "upper back"),  # trapezius: ExRx
    "front raise": ("shoulder", "chest", "upper back"),  # clavicular pectoralis, trapezius: ExRx
    "elbow extension": ("triceps",),  # NSCA
    # Pulls.
    "row": ("upper back", "latissimus", "biceps"),  # NSCA, EMG-i
    "pull-down": ("latissimus", "biceps", "upper back"),  # NSCA, EMG-f
    "pull-over": ("latissimus", "chest", "triceps"),  # Delavier, ExRx: long head of triceps
    "upright pull": ("shoulder", "upper back", "biceps"),  # NSCA, ExRx
    "elbow flexion": ("biceps", "forearms"),  # NSCA; brachioradialis: ExRx
    "shrug": ("upper back", "neck and head"),  # upper trapezius, levator scapulae: ExRx
    "hang": ("forearms", "latissimus"),  # grip and shoulder extensors: EMG-f, ExRx hanging leg raise
    "heavy grip": ("forearms",),  # finger flexors hold the weight: Delavier, EMG-e
    "wrist flexion": ("forearms", "wrists"),  # NSCA
    # Trunk and support.
    "trunk flexion": ("upper abdominis",),  # EMG-b: crunch
    "trunk rotation": ("obliques",),  # ExRx; EMG-b
    "side bend": ("obliques",),  # ExRx, Delavier
    "back held level": ("lower back",),  # erectors in a bent-over hold: EMG-i
    "head held up": ("neck and head",),  # neck flexors or extensors carry the head of a lying person: ExRx, neck
    "front support": ("upper abdominis", "lower abdominis", "shoulder"),  # EMG-c, EMG-h
    "side support": ("obliques", "outer thigh", "shoulder"),  # EMG-c: side bridge, gluteus medius
    "weight on the hands": ("wrists",),  # extended wrists carry the body: Delavier, ACE
}


def regions(movements: Iterable[str]) -> tuple[int, ...]:
    """Ascending indices into ``MUSCLE_REGIONS`` of all regions that the movements activate."""
    names = {name for movement in movements for name in MOVEMENTS[movement]}
    return tuple(index for index, name in enumerate(MUSCLE_REGIONS) if name in names)
