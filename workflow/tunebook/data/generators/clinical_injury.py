"""Conditions of bones and joints, of surgery, and of skin, eye and ear. Synthetic; not medical advice."""

from tunebook.data.generators.clinical_condition import Condition

INJURY = (
    Condition(
        "a lateral ankle sprain", (14, 38), "FM", "two hours | one day | two days",
        "pain and swelling of the outer ankle since a fall in a basketball game {t} ago | a twisted right "
        "ankle after landing on an opponent's foot at basketball {t} ago | outer ankle pain after falling "
        "on the court {t} ago",
        "{He} has never injured this ankle before | {He} plays in a school team twice a week | {He} can "
        "walk four steps with a limp | {He} takes no regular medicines",
        "tenderness over the anterior talofibular ligament | bruising below the lateral malleolus | no "
        "tenderness over the bones | swelling of the outer ankle | intact pulses and sensation in the foot",
        "rest, ice, compression, and elevation | an X-ray only if the Ottawa rules ask for one | ibuprofen "
        "or paracetamol for pain | early range-of-motion exercises | a semi-rigid ankle brace",
    ),
    Condition(
        "an anterior cruciate ligament tear", (16, 40), "FM", "three hours | one day | four days",
        "a swollen knee after a sudden turn while skiing {t} ago | knee pain since hearing a pop during a "
        "football match {t} ago | a knee that gives way after a twisting fall {t} ago",
        "{He} could not play on | {He} has no earlier knee trouble | {He} trains three times a week",
        "a positive Lachman test | a tense joint effusion | a positive anterior drawer test | limited "
        "extension of the knee | no tenderness of the joint line",
        "MRI of the knee | crutches and ice in the first days | referral to an orthopaedic surgeon | "
        "physiotherapy for the quadriceps | simple analgesia",
    ),
    Condition(
        "a distal radius fracture", (55, 84), "F", "one hour | three hours | one day",
        "wrist pain after a fall on an icy pavement {t} ago | a deformed wrist since slipping on wet stairs "
        "{t} ago | a painful left wrist after falling on an outstretched hand {t} ago",
        "{He} went through menopause at 49 | {He} has taken prednisolone for years | {He} broke a rib last "
        "winter",
        "a dinner-fork deformity | swelling with tenderness of the distal radius | normal sensation in the "
        "median nerve area | a palpable radial pulse | pain on any wrist movement",
        "X-rays of the wrist in two planes | closed reduction and a plaster splint | a check of nerve and "
        "pulse after splinting | a bone density scan | review with a new X-ray in one week",
    ),
    Condition(
        "a femoral neck fracture", (72, 93), "FM", "two hours | five hours | one day",
        "groin pain and inability to stand since a fall at home {t} ago | hip pain after tripping over a "
        "carpet {t} ago | a painful hip after falling out of bed {t} ago",
        "{He} lives alone and uses a walker | {He} has osteoporosis | {He} takes aspirin and a diuretic",
        "a shortened, externally rotated leg | pain on gentle rotation of the hip | tenderness in the groin "
        "| intact pulses in the foot | a heart rate of 96 per minute",
        "X-rays of the pelvis and hip | a fascia iliaca nerve block for pain | surgery within 36 hours | "
        "blood tests and an ECG before anaesthesia | osteoporosis treatment afterwards",
    ),
    Condition(
        "carpal tunnel syndrome", (34, 62), "FM", "six weeks | three months | eight months",
        "tingling of the thumb and index finger at night for {t} | numb fingers that wake {him} from sleep "
        "for {t} | dropping cups and tingling in the right hand for {t}",
        "{He} works all day at a keyboard | {He} has hypothyroidism | {He} packs boxes on an assembly line",
        "a positive Phalen test | a positive Tinel sign at the wrist | weak thumb abduction | reduced "
        "sensation over the thumb and index finger | normal neck movement",
        "a wrist splint at night | nerve conduction studies if the diagnosis is unclear | changes to the "
        "workplace | a steroid injection if splinting fails | referral for surgical release if weakness "
        "appears",
    ),
    Condition(
        "adhesive capsulitis", (45, 64), "FM", "two months | four months | seven months",
        "a stiff and painful shoulder for {t} | shoulder pain at night and trouble reaching behind the back "
        "for {t} | slowly growing loss of shoulder movement over {t}",
        "{He} has type 1 diabetes | {He} remembers no injury | {He} can no longer do up a seat belt",
        "loss of passive external rotation | abduction limited to 70 degrees | normal strength of the "
        "rotator cuff | no tenderness of the clavicle | a normal shoulder X-ray",
        "physiotherapy with gentle stretching | a steroid injection into the joint | simple analgesia | a "
        "check of blood glucose | review in six weeks",
    ),
    Condition(
        "lumbar disc herniation with sciatica", (28, 55), "FM", "three days | ten days | three weeks",
        "back pain that shoots below the knee for {t} | leg pain and a numb foot since lifting a crate {t} "
        "ago | low back and left leg pain that is worse on sitting for {t}",
        "{He} has normal bladder and bowel control | {He} works as a mover | {He} had a bout of back pain "
        "last year",
        "a positive straight leg raise at 40 degrees | reduced sensation over the outer foot | a weaker "
        "ankle reflex | normal perianal sensation | weak extension of the big toe",
        "staying active with simple analgesia | advice to return at once if bladder or leg function is lost "
        "| physiotherapy | MRI if pain lasts beyond six weeks | an anti-inflammatory drug for a short "
        "course",
    ),
    Condition(
        "acute gout", (42, 74), "M", "one day | two days | three days",
        "a red and hot big toe for {t} | sudden pain at the base of the big toe that began at night {t} ago "
        "| a swollen toe joint too painful for a bed sheet for {t}",
        "{He} takes a thiazide for hypertension | {He} drank much beer at a party | {He} had a similar "
        "attack two years ago",
        "a red, swollen first metatarsophalangeal joint | a serum urate of 540 micromol/L | a temperature "
        "of 37.4 C | marked tenderness of the joint | needle-shaped crystals in joint fluid",
        "an anti-inflammatory drug or colchicine | joint aspiration if infection is possible | rest and ice "
        "for the joint | a review of other medicines | a urate-lowering drug after the attack",
    ),
    Condition(
        "septic arthritis", (30, 78), "FM", "one day | two days | four days",
        "a hot, swollen knee and chills for {t} | rapidly worsening knee pain and fever for {t} | inability "
        "to bend the knee and fever for {t}",
        "{He} has rheumatoid arthritis treated with methotrexate | {He} had a steroid injection into the "
        "knee recently | {He} has diabetes",
        "a temperature of 38.9 C | a large warm effusion | pain on the slightest movement | a C-reactive "
        "protein of 210 mg/L | cloudy joint fluid",
        "urgent joint aspiration with culture | blood cultures | intravenous antibiotics once samples are "
        "taken | orthopaedic referral for joint washout | admission to hospital",
    ),
    Condition(
        "acute appendicitis", (9, 38), "FM", "twelve hours | one day | two days",
        "abdominal pain that moved from the navel to the lower right side over {t} | lower right abdominal "
        "pain and vomiting for {t} | loss of appetite and growing abdominal pain for {t}",
        "{He} has had no operations | {He} felt well until now | {He} has no urinary symptoms",
        "tenderness at McBurney's point | guarding in the right lower quadrant | a temperature of 38.1 C | "
        "a white cell count of 15.2 | pain on coughing",
        "surgical referral for appendicectomy | nothing by mouth and intravenous fluids | ultrasound of the "
        "abdomen | analgesia | antibiotics before surgery",
    ),
    Condition(
        "acute cholecystitis", (38, 70), "FM", "one day | two days | three days",
        "steady pain under the right ribs for {t} | upper right abdominal pain and fever after a fatty meal "
        "{t} ago | nausea and pain that spreads to the right shoulder for {t}",
        "{He} is known to have gallstones | {He} has a body mass index of 33 | {He} had shorter attacks "
        "this spring",
        "a positive Murphy sign | a temperature of 38.3 C | a white cell count of 14.6 | tenderness in the "
        "right upper quadrant | a normal bilirubin",
        "ultrasound of the gallbladder | intravenous fluids and antibiotics | surgical referral for early "
        "cholecystectomy | analgesia | liver function tests",
    ),
    Condition(
        "a small bowel obstruction", (48, 82), "FM", "one day | two days | three days",
        "cramping abdominal pain and vomiting for {t} | a swollen abdomen and no passage of wind for {t} | "
        "green vomit and waves of abdominal pain for {t}",
        "{He} had a bowel resection ten years ago | {He} had an open appendicectomy as a child | {He} last "
        "opened {his} bowels three days ago",
        "a distended, tympanic abdomen | high-pitched bowel sounds | dry mucous membranes | an old midline "
        "scar | a heart rate of 108 per minute",
        "CT of the abdomen | nothing by mouth and a nasogastric tube | intravenous fluids and electrolytes "
        "| urgent surgical review | repeated abdominal examination",
    ),
    Condition(
        "cellulitis of the leg", (35, 80), "FM", "two days | three days | five days",
        "a spreading red patch on the shin for {t} | a hot, painful lower leg for {t} | redness around a "
        "scratch on the calf for {t}",
        "{He} has athlete's foot | {He} has chronic leg swelling | {He} was scratched while gardening",
        "warm redness with a clear edge on one leg | a temperature of 37.9 C | cracked skin between the "
        "toes | no pus or crepitus | tender lymph nodes in the groin",
        "oral flucloxacillin | a pen mark around the edge of the redness | elevation of the leg | treatment "
        "of any athlete's foot | review within 48 hours",
    ),
    Condition(
        "shingles", (52, 84), "FM", "two days | three days | four days",
        "burning pain and blisters on one side of the chest for {t} | a band of painful rash around the "
        "trunk for {t} | tingling of the flank followed by a rash for {t}",
        "{He} had chickenpox as a child | {He} has been under stress | {He} takes methotrexate",
        "clusters of blisters in one dermatome | a rash that stops at the midline | tenderness over the "
        "left flank | no lesions near the eye | a normal temperature",
        "oral aciclovir or valaciclovir within 72 hours | analgesia | advice to keep the rash covered | "
        "advice to avoid pregnant women and infants | vaccination after recovery",
    ),
    Condition(
        "acute angle-closure glaucoma", (56, 82), "FM", "three hours | six hours | ten hours",
        "a red, painful eye and nausea for {t} | blurred vision with halos around lights for {t} | severe "
        "pain in one eye that began in a dark cinema {t} ago",
        "{He} is long-sighted | {He} has started an antihistamine | {He} has no earlier eye disease",
        "a fixed, mid-dilated pupil | a hazy cornea | an eye that feels hard on palpation | visual acuity "
        "of 6/60 | an intraocular pressure of 52 mmHg",
        "emergency referral to an ophthalmologist | pressure-lowering eye drops | intravenous acetazolamide "
        "| analgesia and an antiemetic | laser iridotomy of both eyes later",
    ),
    Condition(
        "acute otitis media", (2, 7), "FM", "one day | two days | three days",
        "ear pain and fever for {t} | crying, ear pulling, and poor sleep for {t} | earache after a cold "
        "for {t}",
        "{He} goes to day care | {He} has a runny nose | {He} had one ear infection last year",
        "a bulging, red eardrum | a temperature of 38.7 C | reduced movement of the eardrum | no swelling "
        "behind the ear | a clear chest",
        "paracetamol or ibuprofen for pain | watchful waiting for two to three days | amoxicillin if "
        "symptoms persist | review if swelling appears behind the ear | a hearing check if fluid persists",
    ),
)  # fmt: skip
